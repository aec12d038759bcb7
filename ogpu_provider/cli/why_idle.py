"""`ogpu-provider why-idle`: what was missed, what it was worth, and which setting would have taken it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ogpu_provider.cli import journal
from ogpu_provider.cli.knowledge import coin_price, host_of, recorded
from ogpu_provider.cli.misses import group_document, show_groups, sum_document
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.past import Offline, Past, Since, past, warn
from ogpu_provider.cli.screen import amount, at, document, printable, some
from ogpu_provider.cli.since import begin
from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.history import Outcome, PastTask
from ogpu_provider.domain.units import Address, coin
from ogpu_provider.scheduler.missed import Misses
from ogpu_provider.scheduler.takings import Sum

if TYPE_CHECKING:
    from ogpu_provider.domain.source import SourceParams
    from ogpu_provider.scheduler.idleness import Idleness
    from ogpu_provider.settings import Settings


@dataclass(slots=True)
class Answer:
    """Each published task is taken (or still open with us), withdrawn by its client, or missed."""

    missed: Misses = field(default_factory=Misses)
    published: Sum = field(default_factory=Sum)
    taken: Sum = field(default_factory=Sum)
    withdrawn: Sum = field(default_factory=Sum)


async def why_idle(
    *, since: Since = "6h", offline: Offline = False, json: AsJson = False, config: ConfigFile = None
) -> None:
    """Say what was missed of late, what it was worth, and which setting would have taken it.

    Everything that was published counts: also what sources offered that are not served here, and what came while the
    daemon was down. Each task counts under the reason that decided; THIS ALONE are those that nothing else spoke
    against. The rules that were not asked at the time are asked now, by the settings of now.
    """
    start = begin(since)
    settings = journal.read_settings(config)
    async with past(settings, start, offline=offline) as found:
        warn(found)
        async with journal.if_any(settings) as reader:  # from an hour before: blocks' times are not our clock's
            seen = await reader.outcomes(start - 3600) if reader else []
        outcomes = {one.task.lower(): one for one in seen}
        terms, durations = await found.store.sources(start), await found.store.durations(start)
        idleness = await idleness_of(settings, terms, durations)
        answer = Answer()
        async for portion in found.store.tasks(start):
            for task in portion:
                _count(answer, task, outcomes.pop(task.task, None), idleness)
        for outcome in outcomes.values():
            if outcome.seen_at >= start:  # in blocks that are too new to have been read, or could not be
                _count(answer, _from_journal(outcome), outcome, idleness)
    if json:
        document(_document(answer, found, start))
    else:
        _show(answer, found, start)


async def idleness_of(
    settings: "Settings", terms: "Mapping[Address, SourceParams | None]", durations: Mapping[Address, Sequence[int]]
) -> "Idleness":
    """What decides about tasks that the journal does not have: the host, the settings, and what was learnt here."""
    from ogpu_provider.rehearsal import Rehearsal
    from ogpu_provider.scheduler.idleness import Idleness

    rehearsal = Rehearsal(
        settings,
        await host_of(settings),
        await recorded(settings),
        terms,
        durations,
        coin_price=await coin_price(settings),
    )
    read, began = None, None
    async with journal.if_any(settings) as reader:
        if reader is not None and (cursor := await reader.cursor()):
            read, began = cursor[0], await reader.began()
    return Idleness(rehearsal.stands(), rehearsal.judge(), read, began)


def _from_journal(outcome: Outcome) -> PastTask:
    return PastTask(outcome.task, outcome.source, 0, int(outcome.seen_at), outcome.payment, outcome.expiry)


def _count(answer: Answer, task: PastTask, outcome: Outcome | None, idleness: "Idleness") -> None:
    answer.published.add(task.payment)
    if against := idleness.against(task, outcome):
        answer.missed.add(task.payment, against)
    elif outcome is None or task.end is TaskStatus.CANCELED:
        answer.withdrawn.add(task.payment)
    else:
        answer.taken.add(task.payment)


def _document(answer: Answer, found: Past, start: float) -> dict[str, Any]:
    missed = answer.missed
    return {
        "since": start,
        "until": time.time(),
        "block": found.block or None,
        "complete": not found.problem and not found.unread,
        "published": sum_document(answer.published),
        "taken": sum_document(answer.taken),
        "withdrawn": sum_document(answer.withdrawn),
        "missed": {"tasks": missed.tasks, "worth_wei": missed.worth, "worth": coin(missed.worth)},
        "reasons": [group_document(group) for group in missed.groups()],
    }


def _show(answer: Answer, found: Past, start: float) -> None:
    published, missed = answer.published, answer.missed
    print(f"since {at(start)}: {some(published.tasks, 'task')} published, {amount(published.worth)} offered")
    print(f"  {answer.taken.tasks} taken or under way, {amount(answer.taken.worth)}")
    if answer.withdrawn.tasks:
        print(f"  {answer.withdrawn.tasks} withdrawn by clients, {amount(answer.withdrawn.worth)}")
    print(f"  {missed.tasks} missed, {amount(missed.worth)}")
    if not published.tasks:
        print(printable("nothing was published" if not found.problem else "nothing is known of that time"))
    if missed.tasks:
        print()
        show_groups(missed.groups())
