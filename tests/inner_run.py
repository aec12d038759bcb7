"""A run of pytest inside a test, with the project's own settings, over files that the test wrote."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def outcome(folder: Path, *plugins: str) -> str:
    """What pytest prints for `folder`, with the plugins of every run and `plugins`."""
    named = [word for name in ("pytest_asyncio.plugin", "pytest_timeout", *plugins) for word in ("-p", name)]
    settings: list[str | Path] = ["-c", ROOT / "pyproject.toml", "--rootdir", folder, "-p", "no:cacheprovider"]
    command: list[str | Path] = [sys.executable, "-m", "pytest", *named, *settings, folder]
    few = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=few, capture_output=True, text=True, check=False).stdout
