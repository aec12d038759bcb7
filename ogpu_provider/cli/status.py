"""`ogpu-provider status`: is it earning, and if not, why?"""

import time
from typing import Any

from ogpu_provider.cli import journal
from ogpu_provider.cli.live import report
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import amount, at, document, facts, line


async def status(*, json: AsJson = False, config: ConfigFile = None) -> int:
    """Say whether the provider earns, and if not, why. Exit code 1 if something keeps it from earning."""
    async with journal.opened(config) as reader:
        found = await report(reader)
    diagnosis = found["diagnosis"]
    if json:
        shown = {"earning": diagnosis["state"] == "earning", "good": diagnosis["good"]}
        document(shown | found)
    else:
        _show(found)
    return 0 if diagnosis["good"] else 1


def _show(found: dict[str, Any]) -> None:
    diagnosis = found["diagnosis"]
    line(diagnosis["headline"])
    for finding in (*diagnosis["problems"], *diagnosis["notes"]):
        mark = "!" if finding in diagnosis["problems"] else "-"
        line(f"{mark} {finding['code']}: {finding['text']}", 2)
        if finding["remedy"]:
            line(f"remedy: {finding['remedy']}", 6)
    print()
    facts(
        (
            ("daemon", _daemon(found)),
            ("provider", found["provider"]),
            ("chain", _chain(found)),
            *(("endpoint", _endpoint(one)) for one in found.get("rpc", {}).get("endpoints", ())),
            ("read up to", _head(found)),
            ("wallet", _wallet(found)),
            ("sources", counted([source["state"] for source in found["sources"]]) or "none"),
            ("host", _capacity(found)),
            ("live tasks", counted([task["state"] for task in found["live"]]) or "none"),
            ("last 24 h", _recent(found["recent"])),
            ("all tasks", ", ".join(f"{n} {state}" for state, n in found["tasks"].items() if n) or "none"),
            ("transactions", counted([row["effect"] for row in found["open_transactions"]]) or "none open"),
            ("journal", found["journal"]),
        )
    )


def counted(words: list[str]) -> str:
    """How often each word is there: 2 ready, 1 unfit."""
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def _daemon(found: dict[str, Any]) -> str:
    if not found["running"]:
        return "does not run"
    return f"runs since {at(found['started_at'])}, process {found['pid']}, version {found['version']}"


def _chain(found: dict[str, Any]) -> str:
    name = f"{found['network']} ({found['chain_id']})" if found["running"] else str(found["chain_id"])
    if not found["running"]:
        return name
    answers = {True: "the node answers", False: "the node does not answer", None: "the node was not asked yet"}
    return f"{name}, {answers[found['rpc']['answers']]}"


def _endpoint(one: dict[str, Any]) -> str:
    """Whether it answers, how high it is, and how it is heard."""
    if not one["healthy"]:
        again = f"; asked again in {one['rests_s']:.0f} s" if one["rests_s"] >= 1 else ""
        errors = f" ({one['errors']} errors in a row)" if one["errors"] else ""
        return f"{one['name']}: does not answer{errors}: {one['reason']}{again}"
    parts = [f"block {one['head']}" if one["head"] is not None else "no block seen yet"]
    parts += [f"{one['lag']} behind"] if one["lag"] else []
    parts += [f"answers in {1000 * one['took_s']:.0f} ms"] if one["took_s"] is not None else []
    parts += [f"at most {one['limit']:.0f} calls a second"] if one["limit"] is not None else []
    sockets = {True: "websocket open", False: "websocket lost", None: "no websocket"}
    return f"{one['name']}: {', '.join(parts)}, {sockets[one['socket_open']]}"


def _head(found: dict[str, Any]) -> str:
    if found["block"] is None:
        return "no block yet"
    head = found.get("head")
    return f"block {found['block']}" + (f", {head['age_s']:.0f} s old" if head else "")


def _wallet(found: dict[str, Any]) -> str:
    account = found.get("account")
    if account is None:
        return ""
    covered = account["tasks_covered"]
    gas = f", gas for about {covered} tasks" if covered is not None else ""
    return f"{amount(account['balance_wei'])}{gas} (read {max(0, time.time() - account['read_at']):.0f} s ago)"


def _capacity(found: dict[str, Any]) -> str:
    capacity = found.get("capacity")
    if capacity is None:
        return ""
    held = sum(device["held_by"] is not None for device in capacity["devices"])
    slots = f"{capacity['slots_used']} of {capacity['slots']} task slots taken"
    text = f"{slots}, {held} of {len(capacity['devices'])} GPUs held"
    withheld = sum(bool(device["withheld"]) for device in capacity["devices"])
    return f"{text}, {withheld} taking no new work" if withheld else text


def _recent(recent: dict[str, Any]) -> str:
    seen = f"{recent['published']} tasks published, {recent['settled']} paid"
    return f"{seen}: {amount(recent['paid_wei'])} earned, {amount(recent['fees_wei'])} gas"
