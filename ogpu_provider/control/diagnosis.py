"""Is it earning, and if not, why? Pure: from the document that `status` shows.

    daemon.not_running    nobody works                        rpc.down          the node does not answer
    provider.unpaired     no master, or only one side says so chain.silent      no new block is heard of
    provider.paused       the operator wants it so            chain.behind      it reads blocks of the past
    provider.draining     it ends when its work is done       wallet.empty      gas for no task
    source.none           nothing is served                   chain.too_dear    gas costs more than the cap
    source.none_ready     what is served is not ready

Notes do not stop it from earning: some sources not ready, gas running low, nothing published, refusals, one endpoint
of several that fails or lags. What is worth waking somebody for has a severity above `info`: see `alerts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SILENT_S = 90.0
BEHIND_S = 300.0
LAG = 5
"""Blocks behind the highest endpoint, from which on one is said to lag."""
AS_SET = frozenset({"capacity.devices", "source.leaving", "gpu.operator"})
"""Codes of sources and cards that are out of use because the operator has it so: more sources than cards, say."""
COVERED_LOW = 20
"""Tasks that the balance pays for, below which it is called low."""

Document = Mapping[str, Any]


class Earning(StrEnum):
    """`ready` is good, too: nothing stands in the way, but nothing was paid or worked on lately."""

    EARNING = "earning"
    READY = "ready"
    NOT_EARNING = "not_earning"


class Severity(StrEnum):
    INFO = "info"  # as the operator wants it, or of no consequence: nobody is told
    WARNING = "warning"  # it earns less, or will
    CRITICAL = "critical"  # it does not earn


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable; `remedy` is empty where waiting is all that can be done. `subject`: what it is about, where
    several can be meant (a source, a card, an endpoint): code and subject say whether it is still the same.
    """

    code: str
    text: str
    remedy: str = ""
    severity: Severity = Severity.INFO
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    state: Earning
    headline: str
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        return self.state is not Earning.NOT_EARNING


def findings(report: Document) -> list[Finding]:
    """All that is to be said of the daemon as it is; what was `recent`, and its live tasks, may be left out."""
    problems = _problems(report)
    return [*problems, *_notes(report, {problem.code for problem in problems})]


def diagnose(report: Document) -> Diagnosis:
    problems = tuple(_problems(report))
    notes = tuple(_notes(report, {problem.code for problem in problems}))
    recent = report["recent"]
    if problems:
        headline = f"not earning: {problems[0].text}"
        return Diagnosis(Earning.NOT_EARNING, headline, problems, notes)
    working = [task for task in report["live"] if task["state"] != "seen"]
    if recent["settled"] or working:
        parts = [f"{recent['settled']} tasks paid {recent['paid']} in the last 24 h"] if recent["settled"] else []
        parts += [f"{len(working)} on the way"] if working else []
        return Diagnosis(Earning.EARNING, f"earning: {', '.join(parts)}", (), notes)
    why = "no task was published to its sources" if not recent["published"] else "no task was taken"
    return Diagnosis(Earning.READY, f"ready: {why} in the last 24 h", (), notes)


def _problems(report: Document) -> list[Finding]:
    if not report["running"]:
        ended = report.get("ended")
        text = f"the daemon ended by itself: {ended}" if ended else "the daemon does not run"
        return [_critical("daemon.not_running", text, "`ogpu-provider run`, or start its service"), *_orders(report)]
    return [*_orders(report), *_node(report), *_account(report), *_sources(report)]


def _critical(code: str, text: str, remedy: str = "") -> Finding:
    return Finding(code, text, remedy, Severity.CRITICAL)


def _warning(code: str, text: str, remedy: str = "", subject: str = "") -> Finding:
    return Finding(code, text, remedy, Severity.WARNING, subject)


def _unless_set(code: str) -> Severity:
    return Severity.INFO if code in AS_SET else Severity.WARNING


def _orders(report: Document) -> list[Finding]:
    found = []
    if report["draining"]:
        text = "it is draining: no new task is taken, and it ends when its work is done"
        found.append(Finding("provider.draining", text, "`ogpu-provider resume` calls it off"))
    if report["paused_since"] is not None:
        found.append(Finding("provider.paused", "it is paused: no new task is taken", "`ogpu-provider resume`"))
    return found


def _node(report: Document) -> list[Finding]:
    rpc, head = report["rpc"], report["head"]
    if rpc["answers"] is False:
        text = f"the RPC endpoint does not answer: {rpc['reason']}"
        return [_critical("rpc.down", text, "check network.rpc_url and the network; the daemon keeps trying")]
    if head is None:
        return [_critical("chain.silent", "no block was heard of yet", "check network.ws_url; see the daemon's log")]
    if head["silent_s"] is not None and head["silent_s"] > SILENT_S:
        text = f"no block was heard of for {head['silent_s']:.0f} s"
        return [_critical("chain.silent", text, "check network.ws_url; perhaps the chain itself stands still")]
    if head["age_s"] > BEHIND_S:
        text = f"it reads blocks that are {head['age_s']:.0f} s old, and takes no task whose time is over"
        return [_critical("chain.behind", text, "wait until it has caught up; check the clock of this host")]
    return []


def _account(report: Document) -> list[Finding]:
    account = report["account"]
    if account is None:
        return []
    found = []
    if not account["paired"] or not report["paired"]:
        text = "master and provider are not paired" if account["master"] else "the provider has no master"
        found.append(_critical("provider.unpaired", text, "`ogpu-provider register` goes through it"))
    if account["price_wei"] is None:
        text = "gas costs more than the daemon may pay"
        found.append(_critical("chain.too_dear", text, "wait, or raise fees.max_fee_gwei"))
    elif account["balance_wei"] == 0 or account["tasks_covered"] == 0:
        text = f"its balance of {account['balance']} does not cover the gas of one task"
        found.append(_critical("wallet.empty", text, f"send coin to {report['provider']}"))
    return found


def _sources(report: Document) -> list[Finding]:
    served = [source for source in report["sources"] if source["state"] != "dropped"]
    if not served:
        remedy = "`ogpu-provider sources add ADDRESS`, or set sources.serve"
        return [_critical("source.none", "it serves no source", remedy)]
    if any(source["state"] in ("ready", "cold") for source in served):
        return []
    first = next((source for source in served if source["reason"]), None)
    text = f"none of its {len(served)} sources is ready"
    if first is None:
        return [Finding("source.none_ready", f"{text}: they are being prepared", "`ogpu-provider sources`")]
    return [_critical("source.none_ready", f"{text}: {first['code']}: {first['reason']}", "`ogpu-provider sources`")]


def _notes(report: Document, problems: set[str]) -> list[Finding]:
    notes = []
    unready = [source for source in report["sources"] if source["state"] == "unfit"]
    if "source.none_ready" not in problems:
        notes += [
            Finding(
                "source.not_ready",
                f"source {source['address']} is not ready: {source['code']}: {source['reason']}",
                "`ogpu-provider sources`",
                _unless_set(source["code"]),
                source["address"],
            )
            for source in unready
        ]
    notes += _image_notes(report)
    notes += _recent_notes(report.get("recent"))
    notes += _device_notes(report)
    if report["running"]:
        notes += _account_notes(report, problems)
        notes += _endpoint_notes(report, problems)
        notes += _experience_notes(report)
        notes += _alert_notes(report.get("alerts"))
    return notes


def _recent_notes(recent: Document | None) -> list[Finding]:
    found = []
    if recent and not recent["published"]:
        found.append(Finding("tasks.none", "no task was published to its sources in the last 24 h"))
    if recent and recent["refusals"]:
        listed = ", ".join(f"{number} {code}" for code, number in recent["refusals"].items())
        text = f"not taken or lost in the last 24 h: {listed}"
        found.append(Finding("tasks.refused", text, "`ogpu-provider why-idle`"))
    return found


def _alert_notes(alerts: Document | None) -> list[Finding]:
    if not alerts or not alerts["problem"]:
        return []
    text = f"alerts do not reach {alerts['to']}: {alerts['problem']}"
    return [Finding("alerts.untold", text, "`ogpu-provider alerts test`")]


def _device_notes(report: Document) -> list[Finding]:
    """Cards that are out of use, and devices that somebody else uses."""
    found = []
    for one in report.get("cordons", ()):
        text = f"{one['name']} {one['card']} is cordoned and takes no new work: {one['code']}: {one['reason']}"
        remedy = "`ogpu-provider devices`; it is tested again by itself"
        found.append(Finding("device.cordoned", text, remedy, _unless_set(one["code"]), one["card"]))
    for device in report.get("capacity", {}).get("devices_missing", ()):
        text = f"{device} is not on this host any more, and a source holds it"
        found.append(_warning("device.missing", text, "`ogpu-provider devices`", device))
    for device in report.get("capacity", {}).get("devices", ()):
        for reason in (each for each in device["withheld"] if each["code"] != "gpu.cordoned"):
            text = f"{device['name']} {device['id']} takes no new work: {reason['text']}"
            found.append(Finding("device.withheld", text, subject=device["id"]))
    return found


def _experience_notes(report: Document) -> list[Finding]:
    """Whom it leaves alone for a while, a price that it cannot trust, and an owner who is back."""
    found = []
    for kind, breakers in report.get("breakers", {}).items():
        for one in (each for each in breakers if each["open"]):
            what = "failed here too often" if kind == "sources" else "left work unpaid too often"
            text = f"{kind[:-1]} {one['address']} {what} and is left alone: {one['weight']:.1f} of {one['limit']:.1f}"
            remedy = "it is taken again when that has decayed to half"
            found.append(_warning(f"breaker.{kind[:-1]}", text, remedy, one["address"]))
    price, owner = report.get("coin_price", {}), report.get("owner", {})
    if price.get("code"):
        text = f"{price['problem']}; {price['price']} is used on"
        found.append(_warning(price["code"], text, "see what keeps price.coin_price_file up to date"))
    if owner.get("in_use"):
        text = f"no new task is taken while {owner['in_use']} is there"
        found.append(Finding("owner.present", text, "owner.pause_in_use"))
    return found


def _image_notes(report: Document) -> list[Finding]:
    """What is pulled, and what registries have under a tag by now in place of what runs."""
    found = []
    for source in report["sources"]:
        for pull in source["pulling"]:
            text = (
                f"{pull['image']} is pulled for {source['address']}: {pull['layers_done']} of {pull['layers']} layers, "
                f"{pull['bytes_done'] >> 20} of {pull['bytes'] >> 20} MiB at {pull['rate'] / (1 << 20):.1f} MiB/s"
            )
            found.append(Finding("image.pulling", text, subject=f"{source['address']} {pull['image']}"))
        for offer in source["images_offered"]:
            text = f"{offer['image']} of {source['address']} is another by now: {offer['offered']}"
            remedy = f"`ogpu-provider sources approve {source['address']}`, or leave it: {offer['used']} runs on"
            found.append(_warning("image.changed", text, remedy, f"{source['address']} {offer['image']}"))
    return found


def _endpoint_notes(report: Document, problems: set[str]) -> Sequence[Finding]:
    """Of several endpoints, those that are of no use now."""
    if "rpc.down" in problems:
        return ()
    notes = []
    for one in report["rpc"]["endpoints"]:
        if not one["healthy"]:
            text = f"the endpoint {one['name']} does not answer: {one['reason']}"
            remedy = "check network.rpc_urls; the others do its work"
            notes.append(_warning("rpc.degraded", text, remedy, one["name"]))
        elif one["lag"] > LAG:
            text = f"the endpoint {one['name']} is {one['lag']} blocks behind"
            notes.append(_warning("rpc.lagging", text, subject=one["name"]))
    return notes


def _account_notes(report: Document, problems: set[str]) -> Sequence[Finding]:
    account, notes = report["account"], []
    if account is None:
        return ()
    covered = account["tasks_covered"]
    if "wallet.empty" not in problems and covered is not None and covered < COVERED_LOW:
        text = f"its balance of {account['balance']} covers the gas of about {covered} tasks"
        notes.append(_warning("wallet.low", text, f"send coin to {report['provider']}"))
    if not account["eligible"]:
        text = "the Vault does not call provider or master eligible; a source may refuse the registration"
        notes.append(_warning("vault.not_eligible", text, "`ogpu-provider vault`"))
    if account["sanctioned_wei"]:
        notes.append(_warning("vault.sanctioned", "the Vault holds a sanction against provider or master"))
    return notes
