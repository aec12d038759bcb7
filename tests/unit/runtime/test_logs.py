import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.logs import TaskLogs, clean

TASK = Address("0x" + "7A" * 20)


async def test_the_end_of_each_service_is_kept(tmp_path: Path) -> None:
    logs = TaskLogs(tmp_path / "logs", limit=4096)
    await logs.keep(TASK, [("app", b"x" * 10_000 + b"last"), ("side", b"short\n")])
    text = await logs.read(TASK)
    assert text.startswith("== app\n")
    assert "last\n== side\nshort\n" in text
    assert logs.path(TASK).stat().st_size <= 4096
    assert logs.path(TASK).stat().st_mode & 0o077 == 0
    assert await logs.read(Address("0x" + "00" * 20)) == ""


async def test_only_the_newest_logs_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    logs = TaskLogs(tmp_path, kept=20)
    tasks = [Address(f"0x{number:040x}") for number in range(60)]
    for number, task in enumerate(tasks):
        await logs.keep(task, [("app", b"x")])
        os.utime(logs.path(task), (number, number))
    left = [task for task in tasks if logs.path(task).exists()]
    assert left == tasks[-len(left) :]
    assert 20 <= len(left) <= 22
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "0x12", "", TASK + "/x"])
def test_only_a_task_becomes_a_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="address"):
        TaskLogs(tmp_path).path(Address(name))


def test_a_terminal_is_not_moved() -> None:
    assert clean(b"\x1b[31mred\x1b[0m \x1b]0;title\x07ok\x08\r\nnext\xff") == "red ok\nnext�"


@given(st.binary(max_size=200))
def test_nothing_but_text_is_left(output: bytes) -> None:
    assert all(c.isprintable() or c in "\n\t" or ord(c) > 127 for c in clean(output))
