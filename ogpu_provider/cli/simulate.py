"""`ogpu-provider simulate`: the chain's past against this host, or a described one, and a policy."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.past import Offline, Past, Since, past, warn
from ogpu_provider.cli.screen import at, document, facts, printable, table
from ogpu_provider.cli.since import begin
from ogpu_provider.domain.units import coin

if TYPE_CHECKING:
    from fractions import Fraction

    from ogpu_provider.rehearsal import Record, Rehearsal
    from ogpu_provider.scheduler.missed import Group
    from ogpu_provider.scheduler.replay import Replay
    from ogpu_provider.scheduler.takings import Books, Sum
    from ogpu_provider.settings import Settings

Competitors = Literal["chain", "none"]
ASSUMED = {
    "chain": "others answer when they did: a first response is paid where ours would have been in a block before "
    "theirs, a task confirmed by hand where its client paid anybody and ours would have been there before",
    "none": "nobody else answers and every client pays: the most that could have been earned",
}


async def simulate(
    *,
    since: Since = "7d",
    policy: Annotated[
        Path | None, Parameter(help="Settings file whose terms (sources, admission, price, owner, …) replace ours.")
    ] = None,
    host: Annotated[
        Path | None,
        Parameter(
            help="TOML file with another host: cpu_slots, and [[devices]] with environment, name, "
            "memory_gib, count. What was learnt here is left aside then."
        ),
    ] = None,
    competition: Annotated[
        Competitors, Parameter(help="chain: others answer when they did; none: nobody else does.")
    ] = "chain",
    offline: Offline = False,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Replay the chain's past tasks: what would have been accepted, what it earned and cost, how busy cards were.

    The live rules decide, in the order of the chain; a lease is held while a task runs. Nothing is sent. Amounts
    named `_wei` are integers in wei.
    """
    from ogpu_provider.config import overlaid
    from ogpu_provider.rehearsal import Rehearsal

    start = begin(since)
    settings = journal.read_settings(config)
    chosen = settings if policy is None else overlaid(settings, policy)
    here = await _host(chosen, host)
    async with past(settings, start, offline=offline) as found:
        warn(found)
        record = await recorded(settings, wishes=policy is None, learnt=host is None)
        rehearsal = Rehearsal(
            chosen,
            here,
            record,
            await found.store.sources(start),
            await found.store.durations(start),
            others=competition == "chain",
            coin_price=await coin_price(chosen),
        )
        replay = rehearsal.replay(start)
        async for portion in found.store.tasks(start):
            replay.arrive(portion)
        replay.finish(found.until or time.time())
    answer = _document(rehearsal, replay, found, start, competition)
    if json:
        document(answer)
    else:
        _show(answer, replay.takings.declined.groups())


async def recorded(settings: "Settings", *, wishes: bool = True, learnt: bool = True) -> "Record":
    """What the journal knows, nothing where there is none. `learnt`: what is true of this host alone, too."""
    from ogpu_provider.domain.learnt import Fact
    from ogpu_provider.rehearsal import Record

    async with journal.if_any(settings) as reader:
        if reader is None:
            return Record()
        known = await reader.learnt()
        if not learnt:
            return Record(
                wishes=await reader.wishes() if wishes else (),
                learnt=[one for one in known if one.key.fact is Fact.GAS],
                ours=await reader.responses(),
            )
        return Record(await reader.sources(), await reader.wishes() if wishes else (), known, await reader.responses())


async def coin_price(settings: "Settings") -> "Fraction | None":
    """As the daemon has it: from the operator's file, else from the settings."""
    from fractions import Fraction

    from ogpu_provider.domain.clock import SystemClock
    from ogpu_provider.scheduler.coinprice import CoinPrice

    price, static = settings.price, settings.price.coin_price
    told = CoinPrice(
        SystemClock(),
        static=None if static is None else Fraction(static),
        file=price.coin_price_file,
        max_age=price.coin_price_max_age,
    )
    return (await told.look()).price


async def _host(settings: "Settings", file: Path | None) -> Any:
    from ogpu_provider import hostfile, policies
    from ogpu_provider.scheduler.inventory import look

    return hostfile.read(file) if file else await look(policies.cpu_slots(settings))


def _document(
    rehearsal: "Rehearsal", replay: "Replay", found: Past, start: float, competition: Competitors
) -> dict[str, Any]:
    takings, usage = replay.takings, replay.usage
    names = {device.id: device.name for device in rehearsal.host.devices}
    return {
        "since": start,
        "until": found.until or None,
        "block": found.block or None,
        "span_s": usage.span,
        "complete": not found.problem and not found.unread,
        "competition": competition,
        "assumed": ASSUMED[competition],
        "gas_known": rehearsal.gas_known(),
        "host": {"cpu_slots": rehearsal.host.cpu_slots, "devices": len(rehearsal.host.devices)},
        **books(takings.all),
        "waited": takings.waited,
        "reasons": [group_document(group) for group in takings.declined.groups()],
        "cards": [
            {"id": device, "name": names[device], "busy_s": busy, "share": usage.share(busy)}
            for device, busy in usage.busy.items()
        ],
        "slots": {
            "count": usage.slots,
            "busy_s": usage.slot_seconds,
            "share": usage.slot_share,
            "most_at_once": usage.most,
        },
        "sources": [
            {"source": source, **books(one)}
            for source, one in sorted(takings.by_source.items(), key=lambda pair: (-pair[1].net, pair[0]))
        ],
    }


def books(one: "Books") -> dict[str, Any]:
    """Amounts in wei, those of tasks what was offered for them."""
    return {
        "published": sum_document(one.published),
        "accepted": one.accepted,
        "paid": sum_document(one.paid),
        "unpaid": sum_document(one.unpaid),
        "lost": sum_document(one.lost),
        "failed": sum_document(one.failed),
        "declined": sum_document(one.declined),
        "income_wei": one.income,
        "gas_wei": one.gas,
        "energy_wei": one.energy,
        "net_wei": one.net,
        "net": coin(one.net),
        "rate_wei": one.rate,
    }


def group_document(group: "Group") -> dict[str, Any]:
    return {
        "code": group.code,
        "tasks": group.tasks,
        "worth_wei": group.worth,
        "worth": coin(group.worth),
        "alone": {"tasks": group.alone, "worth_wei": group.alone_worth},
        "latest": group.text,
        "settings": group.lines,
    }


def sum_document(one: "Sum") -> dict[str, Any]:
    return {"tasks": one.tasks, "worth_wei": one.worth, "worth": coin(one.worth)}


def _show(answer: dict[str, Any], groups: Sequence["Group"]) -> None:
    print(f"{answer['published']['tasks']} tasks from {at(answer['since'])} to {at(answer['until'])}")
    print(f"assumed: {answer['assumed']}")
    print()
    gas = "" if answer["gas_known"] else " (not known: no transaction was ever sent here)"
    facts(
        (
            *((name, _counted(answer[name])) for name in ("paid", "unpaid", "lost", "failed", "declined")),
            ("income", coin(answer["income_wei"])),
            ("gas", coin(answer["gas_wei"]) + gas),
            ("energy", coin(answer["energy_wei"])),
            ("net", coin(answer["net_wei"])),
            ("waited for room", answer["waited"] or None),
            ("task slots", f"{answer['slots']['share']:.1%} of {answer['slots']['count']} busy"),
            *(("card", f"{card['id']} {card['name']}: {card['share']:.1%} busy") for card in answer["cards"]),
        )
    )
    if groups:
        print()
        show_groups(groups)
    rows = [
        (one["source"], *(one[name]["tasks"] for name in ("published", "paid", "lost", "declined")), one["net"])
        for one in answer["sources"]
    ]
    if rows:
        print()
        table(("SOURCE", "PUBLISHED", "PAID", "LOST", "DECLINED", "NET"), rows)


def show_groups(groups: Sequence["Group"]) -> None:
    """The reasons, the dearest first, each with the settings that would have taken its tasks."""
    rows = [(group.code, group.tasks, coin(group.worth), group.alone, coin(group.alone_worth)) for group in groups]
    table(("REASON", "TASKS", "WORTH", "THIS ALONE", "WORTH"), rows)
    print()
    for group in groups:
        print(printable(f"{group.code}: {group.text}"))
        lines = group.lines
        for line in lines[:5]:
            print(printable(f"  would have been taken with: {line}"))
        if len(lines) > 5:
            print(f"  and {len(lines) - 5} more (--json lists them)")
        if not lines:
            print("  no setting would have taken it")


def _counted(one: dict[str, Any]) -> str:
    return f"{one['tasks']} tasks, {one['worth']} offered"
