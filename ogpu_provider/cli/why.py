"""`ogpu-provider why`: what decided about a task."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpu_provider.cli import journal, screen
from ogpu_provider.cli.live import daemon_of
from ogpu_provider.cli.options import AsJson, ConfigFile, TaskName
from ogpu_provider.cli.past import past
from ogpu_provider.cli.screen import amount, at, document, facts
from ogpu_provider.domain.errors import ChainError, ControlError, ProviderError
from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.task import JournalLine, Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Ruling

if TYPE_CHECKING:
    from ogpu_provider.domain.source import SourceParams
    from ogpu_provider.settings import Settings

MEANING = {
    TaskState.SEEN: "was seen, and is not decided on",
    TaskState.ADMITTED: "was accepted; its source is being made ready",
    TaskState.READY: "was accepted; the attempt is next",
    TaskState.ATTEMPTED: "was attempted on chain; execution is next",
    TaskState.EXECUTING: "is being executed",
    TaskState.PRODUCED: "has its result; publishing it is next",
    TaskState.PINNED: "has its result published; the response is next",
    TaskState.SUBMITTED: "has its response submitted; the chain has not settled it",
    TaskState.RESPONDED: "has its response on chain; the client has to confirm it",
    TaskState.SETTLED: "was paid to us",
    TaskState.LOST: "went to another provider",
    TaskState.DECLINED: "was declined",
    TaskState.FAILED: "failed",
    TaskState.EXPIRED: "expired",
    TaskState.CANCELED: "was canceled by its client",
}


async def why(task: TaskName, /, *, json: AsJson = False, config: ConfigFile = None) -> None:
    """Say why a task is where it is: every rule with its numbers, in order, and which one decided.

    A task that the journal does not have is looked up on the chain, and it is said why it was never seen.
    """
    try:
        async with journal.opened(config) as reader:
            row = await journal.find(reader, task)
            lines = await reader.history(row.address)
    except ProviderError as error:
        if error.code not in ("task.unknown", "store.missing") or len(task) != 42:
            raise
        await _unseen(task, error, config, json=json)
        return
    line, waits = deciding(row, lines), await _waits(row, config)
    if json:
        document(answer(row, line, judgement(lines)) | {"waits": waits or None})
    else:
        _show(row, line, judgement(lines))
        if waits:
            screen.line(f"It waits: {waits}")


async def _waits(row: Task, config: Path | None) -> str:
    """What a live task waits for, by the daemon's word: a card in somebody else's use, say. Empty where none runs."""
    if not row.state.over:
        with suppress(ControlError):
            status = await daemon_of(config).ask("status")
            return next((live["waits"] or "" for live in status["live"] if live["address"] == row.address), "")
    return ""


def _show(row: Task, line: JournalLine | None, judged: Sequence[Ruling]) -> None:
    print(f"{row.address} {MEANING[row.state]}.")
    for reason in line.reasons if line else ():
        screen.line(f"{reason.code}: {reason.text}", 2)
    if line and not line.reasons and row.code:
        screen.line(f"{row.code}: {row.reason}", 2)
    if row.state is TaskState.FAILED and row.dispatches:
        print(f"  what its containers printed: `ogpu-provider tasks logs {row.address[:10]}`")
    if judged:
        print("the rules, in order; the first that speaks against it decides:")
        _show_rules(judged)
    if row.obliged:
        screen.line("It was attempted for us by the master or an agent: an obligation, rules were not asked.", 2)
    if line:
        before = f"{line.before} -> " if line.before else ""
        screen.line(f"decided {at(line.at)}: {before}{line.after} (daemon start {line.boot})")


def _show_rules(rulings: Sequence[Ruling]) -> None:
    for ruling in rulings:
        screen.line(f"{'+' if ruling.passed else '-'} {ruling.code}: {ruling.text}", 2)
        if not ruling.passed and ruling.setting:
            screen.line(f"would have passed with: {ruling.setting}", 6)


async def _unseen(name: str, error: ProviderError, config: Path | None, *, json: bool) -> None:
    """Of a task that the journal does not have. Raises `error` if the chain knows no such task either."""
    from ogpu_provider.cli.why_idle import idleness_of

    settings, address = journal.read_settings(config), journal.whole_address(name)
    async with past(settings, 0.0, offline=True) as found:
        known = await found.store.task(address)
        terms = await found.store.sources()
        durations = await found.store.durations()
        if known is None or terms.get(known.source) is None:
            known, terms = await _from_chain(settings, address, error)
    idleness = await idleness_of(settings, terms, durations)
    against = idleness.against(known, None)
    if json:
        document(_unseen_document(known, against))
        return
    print(f"{address} was never seen by this provider.")
    facts((("source", known.source), ("pays", amount(known.payment)), ("expiry", at(known.expiry))), indent="  ")
    if known.end is not None:
        print(f"  on chain it is {known.end.name.lower()}")
    if against:
        print("what spoke against it; the first decides:")
        _show_rules(against)


async def _from_chain(
    settings: "Settings", address: Address, error: ProviderError
) -> tuple[PastTask, dict[Address, "SourceParams | None"]]:
    """Raises `error`, with what to do, where the chain does not answer or has no such task."""
    from ogpu_provider.assembly import network_of, open_pool
    from ogpu_provider.chain.history import ChainPast
    from ogpu_provider.domain.clock import SystemClock

    network = network_of(settings)
    try:
        async with open_pool(settings, network) as pool:
            chain = ChainPast(pool, network, SystemClock(), pauses=())
            found = await chain.task(address)
            if found is None:
                text = f"neither the journal nor the chain has a task {address}"
                raise ProviderError(text, code="task.unknown", remedy="check the address, and network.name")
            return found, {one.address: one for one in await chain.terms([found.source])}
    except ChainError as silent:
        error.remedy = f"{error.remedy}; the chain could not be asked: {silent}"
        raise error from silent


def _unseen_document(task: PastTask, against: Sequence[Ruling]) -> dict[str, Any]:
    return {
        "task": task.task,
        "state": "unseen",
        "meaning": "was never seen by this provider",
        "source": task.source,
        "payment_wei": task.payment,
        "expiry": task.expiry,
        "published_at": task.at or None,
        "block": task.block or None,
        "chain": task.end.name.lower() if task.end is not None else None,
        "reasons": [{"code": one.code, "text": one.text} for one in against],
        "rules": [
            {"code": one.code, "passed": one.passed, "text": one.text, "setting": one.setting or None}
            for one in against
        ],
        "decided_by": against[0].code if against else None,
        "decided": None,
    }


def deciding(row: Task, lines: Sequence[JournalLine]) -> JournalLine | None:
    """The last line that led into the present state; a dispatch repeated later did not decide that."""
    into = [line for line in lines if line.after is row.state]
    changes = [line for line in into if line.before is not row.state]
    return next(reversed(changes or into), None)


def judgement(lines: Sequence[JournalLine]) -> list[Ruling]:
    """What the rules said when they were last asked; empty if they never were."""
    told = next((line.detail["rulings"] for line in reversed(lines) if "rulings" in line.detail), [])
    assert isinstance(told, list)
    return [Ruling(*parts) for parts in told]


def answer(row: Task, line: JournalLine | None, rulings: Sequence[Ruling]) -> dict[str, Any]:
    return {
        "task": row.address,
        "state": row.state,
        "meaning": MEANING[row.state],
        "obliged": row.obliged,
        "reasons": [{"code": reason.code, "text": reason.text} for reason in line.reasons] if line else [],
        "rules": [
            {"code": one.code, "passed": one.passed, "text": one.text, "setting": one.setting or None}
            for one in rulings
        ],
        "decided_by": next((one.code for one in rulings if not one.passed), None),
        "decided": journal.line_document(line) if line else None,
    }
