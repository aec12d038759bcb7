"""`ogpu-provider tasks`: what became of the work."""

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.options import AsJson, ConfigFile, TaskName
from ogpu_provider.cli.screen import at, document, facts, printable, table
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.task import JournalLine, Task, TaskState
from ogpu_provider.domain.units import coin

app = cyclopts.App(name="tasks", help="The tasks in the journal.")


@app.command(name="list")
@app.default
async def list_tasks(
    *,
    state: Annotated[
        tuple[TaskState, ...], Parameter(negative="", show_default=False, help="Only in this state; may be repeated.")
    ] = (),
    source: Annotated[str | None, Parameter(help="Only tasks of the source with this address.")] = None,
    limit: Annotated[int, Parameter(help="At most so many, newest first.")] = 50,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List tasks, newest first."""
    async with journal.opened(config) as reader:
        only = journal.whole_address(source) if source else None
        found = await reader.tasks(states=state, source=only, limit=limit)
    if json:
        document([journal.task_document(task) for task in found])
        return
    rows = [(t.address, t.state, t.function, coin(t.payment), at(t.updated_at), t.code) for t in found]
    table(("TASK", "STATE", "FUNCTION", "PAYMENT", "UPDATED", "REASON"), rows)


@app.command
async def show(task: TaskName, /, *, json: AsJson = False, config: ConfigFile = None) -> None:
    """Show a task: its row, its timeline and its transactions."""
    async with journal.opened(config) as reader:
        row = await journal.find(reader, task)
        lines = await reader.history(row.address)
        intents = await reader.intents_of(row.address)
    if json:
        document(
            journal.task_document(row)
            | {
                "timeline": [journal.line_document(line) for line in lines],
                "transactions": [journal.intent_document(intent) for intent in intents],
            }
        )
        return
    _show_row(row)
    _show_timeline(lines)
    _show_transactions(intents)


def _show_row(row: Task) -> None:
    facts(
        (
            ("task", row.address),
            ("source", row.source),
            ("state", row.state),
            ("reason", f"{row.code}: {row.reason}" if row.code else ""),
            ("function", row.function),
            ("payment", coin(row.payment)),
            ("attempted for us", "yes" if row.obliged else ""),
            ("delivery", row.delivery.name.lower().replace("_", " ") if row.delivery is not None else ""),
            ("environment", row.environment.label if row.environment else ""),
            ("devices", ", ".join(row.devices)),
            ("published", f"block {row.seen_block}"),
            ("expires", at(row.expiry)),
            ("result due", at(row.deadline)),
            ("dispatched", f"{row.dispatches} times" if row.dispatches > 1 else ""),
            ("result", row.link),
            ("CID", row.cid),
            ("response", row.response),
            (
                "ended in" if row.state.over else "paid in",
                f"block {row.finalized_block}" if row.finalized_block else "",
            ),
        )
    )


def _show_timeline(lines: list[JournalLine]) -> None:
    print("\ntimeline")
    start = lines[0].at if lines else 0.0
    for line in lines:
        arrow = f"{line.before} -> {line.after}" if line.before else f"{line.after}"
        print(f"  {at(line.at)}  {line.at - start:+9.3f}s  {arrow}")
        for reason in line.reasons:
            print(f"      {reason.code}: {printable(reason.text)}")


def _show_transactions(intents: list[IntentRow]) -> None:
    if not intents:
        return
    print("\ntransactions")
    rows = [
        (r.intent.effect, r.state, r.nonce, r.tx_hash, r.block_number, r.gas_used, fee_text(r.fee_paid))
        for r in intents
    ]
    table(("EFFECT", "STATE", "NONCE", "HASH", "BLOCK", "GAS", "FEE"), rows)


def fee_text(fee: int | None) -> str:
    return "" if fee is None else coin(fee)


@app.command
async def logs(task: TaskName, /, *, config: ConfigFile = None) -> None:
    """Print what the source's containers wrote while the task ran."""
    from ogpu_provider.runtime.logs import TaskLogs

    async with journal.opened(config) as reader:
        row = await journal.find(reader, task)
    text = await TaskLogs(journal.read_settings(config).task_logs).read(row.address)
    if not text:
        raise ProviderError(
            f"there is no log of {row.address}, it is {row.state}",
            code="task.no_log",
            remedy="a log is kept when execution ends",
        )
    print(text, end="")
