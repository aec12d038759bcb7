"""A coroutine that is made and never awaited fails the test that made it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
    plugins = ("-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        *plugins,
        "-c",
        ROOT / "pyproject.toml",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    few = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run(command, cwd=tmp_path, env=few, capture_output=True, text=True, check=False)
    assert "2 failed, 1 passed" in run.stdout, run.stdout
    for name in ("test_plain", "test_async"):
        assert f"FAILED test_made.py::{name}" in run.stdout
    assert "coroutine 'work' was never awaited" in run.stdout
