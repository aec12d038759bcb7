"""`ogpu-provider simulate`: the chain's past against this host, or a described one, and a policy."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.knowledge import coin_price, host_of, recorded
from ogpu_provider.cli.misses import group_document, show_groups, sum_document
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.past import Offline, Past, Since, past, warn
from ogpu_provider.cli.screen import amount, at, document, facts, line, some, table
from ogpu_provider.cli.since import begin
from ogpu_provider.domain.units import coin

if TYPE_CHECKING:
    from ogpu_provider.rehearsal import Rehearsal
    from ogpu_provider.scheduler.missed import Group
    from ogpu_provider.scheduler.replay import Replay
    from ogpu_provider.scheduler.takings import Books

Competitors = Literal["chain", "none"]
ASSUMED = {
    "chain": "others answer when they did: a first response is paid where ours would have been in a block before "
    "theirs, a task confirmed by hand where its client paid anybody and ours would have been there before",
    "none": "nobody else answers and every client pays: the most that could have been earned",
}
UNKNOWN = (
    "which runs would have failed for another reason than time, so that no source's breaker counts them; and whether "
    "a source was up"
)
BASES = {
    "function": "by their function here",
    "source": "by their source here",
    "task": "as the chain shows of each",
    "chain": "by their source on the chain",
    "nothing": "unknown",
}
"""By what it was judged how long a task runs, the best first."""

Policy = Annotated[
    Path | None, Parameter(help="Settings file whose terms (sources, admission, price, owner, …) replace ours.")
]
OtherHost = Annotated[
    Path | None,
    Parameter(
        help="TOML file with another host: cpu_slots, and [[devices]] with environment, name, "
        "memory_gib, count. What was learnt here is left aside then."
    ),
]
Others = Annotated[Competitors, Parameter(help="chain: others answer when they did; none: nobody else does.")]


async def simulate(
    *,
    since: Since = "7d",
    policy: Policy = None,
    host: OtherHost = None,
    competition: Others = "chain",
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
    here = await host_of(chosen, host)
    async with past(settings, start, offline=offline) as found:
        warn(found)
        rehearsal = Rehearsal(
            chosen,
            here,
            await recorded(settings, start, wishes=policy is None, learnt=host is None),
            await found.store.sources(start),
            await found.store.durations(start),
            others=competition == "chain",
            coin_price=await coin_price(chosen),
        )
        replay = await _replayed(rehearsal, found, start)
    answer = _document(rehearsal, replay, found, start, competition)
    if json:
        document(answer)
    else:
        _show(answer, replay.takings.declined.groups())


async def _replayed(rehearsal: "Rehearsal", found: Past, start: float) -> "Replay":
    replay = rehearsal.replay(start)
    async for portion in found.store.tasks(start):
        replay.arrive(portion)
    replay.finish(found.until or time.time())
    return replay


def _document(
    rehearsal: "Rehearsal", replay: "Replay", found: Past, start: float, competition: Competitors
) -> dict[str, Any]:
    from ogpu_provider.scheduler.runs import Basis

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
        "unknown": UNKNOWN,
        "runs": {basis.value: replay.bases[basis] for basis in Basis},
        "coin_price": None if rehearsal.coin_price is None else float(rehearsal.coin_price),
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


def _show(answer: dict[str, Any], groups: Sequence["Group"]) -> None:
    line(f"{some(answer['published']['tasks'], 'task')} from {at(answer['since'])} to {at(answer['until'])}")
    line(f"assumed: {answer['assumed']}")
    line(f"not known: {answer['unknown']}")
    print()
    gas = "" if answer["gas_known"] else " (not known: no transaction was ever sent here)"
    facts(
        (
            *((name, _counted(answer[name])) for name in ("paid", "unpaid", "lost", "failed", "declined")),
            ("income", amount(answer["income_wei"])),
            ("gas", amount(answer["gas_wei"]) + gas),
            ("energy", amount(answer["energy_wei"])),
            ("net", amount(answer["net_wei"])),
            ("waited for room", answer["waited"] or None),
            ("run times", ", ".join(f"{count} {BASES[basis]}" for basis, count in answer["runs"].items() if count)),
            ("task slots", f"{answer['slots']['share']:.1%} of {answer['slots']['count']} busy"),
            *(("card", f"{card['id']} {card['name']}: {card['share']:.1%} busy") for card in answer["cards"]),
        )
    )
    if groups:
        print()
        show_groups(groups)
    rows = [
        (
            one["source"],
            *(one[name]["tasks"] for name in ("published", "paid", "lost", "declined")),
            amount(one["net_wei"]),
        )
        for one in answer["sources"]
    ]
    if rows:
        print()
        table(("SOURCE", "TASKS", "PAID", "LOST", "DECLINED", "NET"), rows)


def _counted(one: dict[str, Any]) -> str:
    return f"{some(one['tasks'], 'task')}, {amount(one['worth_wei'])} offered" if one["tasks"] else "none"
