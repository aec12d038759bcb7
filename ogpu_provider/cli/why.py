"""`ogpu-provider why`: what decided about a task."""

from collections.abc import Sequence
from typing import Any

from ogpu_provider.cli import journal
from ogpu_provider.cli.options import AsJson, ConfigFile, TaskName
from ogpu_provider.cli.screen import at, document, printable
from ogpu_provider.domain.task import JournalLine, Task, TaskState
from ogpu_provider.domain.verdict import Ruling

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
    """Say why a task is where it is: every reason, and the journal line that decided."""
    async with journal.opened(config) as reader:
        row = await journal.find(reader, task)
        lines = await reader.history(row.address)
    line = deciding(row, lines)
    if json:
        document(answer(row, line, judgement(lines)))
        return
    print(f"{row.address} {MEANING[row.state]}.")
    for reason in line.reasons if line else ():
        print(f"  {reason.code}: {printable(reason.text)}")
    judged = judgement(lines)
    if judged:
        print("the rules, in order; the first that speaks against it decides:")
        for ruling in judged:
            print(f"  {'+' if ruling.passed else '-'} {ruling.code}: {printable(ruling.text)}")
            if not ruling.passed and ruling.setting:
                print(f"      would have passed with: {printable(ruling.setting)}")
    if line and not line.reasons and row.code:
        print(f"  {row.code}: {printable(row.reason)}")
    if row.obliged:
        print("  It was attempted for us by the master or an agent: an obligation, rules were not asked.")
    if line:
        before = f"{line.before} -> " if line.before else ""
        print(f"decided {at(line.at)}: {before}{line.after} (daemon start {line.boot})")


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
