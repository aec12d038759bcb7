"""A coroutine that is made and never awaited fails the test that made it."""

from pathlib import Path

from tests.inner_run import outcome

TESTS = """
import gc

async def work(): ...

def test_plain():
    work()
    gc.collect()

async def test_async():
    work()
    gc.collect()

async def test_well():
    work().close()
    await work()
    gc.collect()
"""


def test_a_coroutine_that_nobody_awaits_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_made.py").write_text(TESTS)
    printed = outcome(tmp_path)
    assert "2 failed, 1 passed" in printed, printed
    for name in ("test_plain", "test_async"):
        assert f"FAILED test_made.py::{name}" in printed
    assert "coroutine 'work' was never awaited" in printed
