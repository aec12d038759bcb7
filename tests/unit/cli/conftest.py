"""A journal with a few tasks in it, and a config file that leads to it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ogpu_provider.cli.main import invoke
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.source import DeliveryMethod, Environment, ServedSource, SourceState
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.store.sqlite import SqliteStore

PROVIDER = Address("0x" + "0" * 39 + "9")
SOURCE = Address("0x" + "0" * 39 + "7")
DECLINED = Address("0x" + "1" * 40)
LIVE = Address("0x" + "2" * 40)
REASONS = (
    Reason("payment.below_floor", "pays 0.01, the floor is 0.02"),
    Reason("time.too_short", "12 s are left, \x1b[31mred\x07 30 s are wanted"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs command lines of `ogpu-provider` in this process, with the settings of `folder`."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def __call__(self, *words: str, config: bool = True) -> Answer:
        code = invoke([*words, "--config", str(self.config)] if config else list(words))
        text = self.capture.readouterr()
        return Answer(code, text.out, text.err)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    (tmp_path / "config.toml").write_text(f'data_dir = "{tmp_path}/data"\n')
    return Shell(tmp_path, capsys)


@pytest.fixture
def journal(shell: Shell) -> Callable[[], None]:
    """Writes the journal; to be called before the first question."""
    return lambda: asyncio.run(_write(shell.folder / "data" / "provider.db"))


async def _write(path: Path) -> None:
    store = await SqliteStore.open(path, chain_id=1071, provider=PROVIDER)
    declined = Task(DECLINED, SOURCE, TaskState.SEEN, 10, 1000.0, boot="b1", payment=10**16)
    live = replace(declined, address=LIVE, seen_at=1001.0, payment=2 * 10**16)
    block = Block(10, Hash("0x" + "ab" * 32), Hash("0x" + "cd" * 32), 1000)
    await store.insert([declined, live], block)
    await store.save(declined, Transition(TaskState.DECLINED, reasons=REASONS), at=1000.5, boot="b1")
    steps = (TaskState.ADMITTED, TaskState.READY, TaskState.ATTEMPTED, TaskState.EXECUTING, TaskState.EXECUTING)
    for number, state in enumerate(steps):
        intent = Intent("attempt:2", Effect.ATTEMPT, LIVE, SOURCE, b"\x01") if state is TaskState.ATTEMPTED else None
        changes = {"function": "mul\u202eply", "delivery": DeliveryMethod.FIRST_RESPONSE} if number == 0 else {}
        step = Transition(state, changes, intent=intent)
        live = await store.save(live, step, at=1001.0 + number, boot="b1")
    await store.save_source(
        ServedSource(
            SOURCE, SourceState.UNFIT, "ocr", Environment.CPU, code="compose.refused", reason="privileged is refused"
        )
    )
    await store.close()
