"""No dump of a process that may hold a key: the same end, with and without it."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

_DIE = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
_GUARDED = f"from ogpu_provider.keys.memory import forbid_dumps; forbid_dumps(); {_DIE}"


def dies(folder: Path, code: str) -> list[Path]:
    """What a process leaves in its directory that may leave as much as it wants."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    dumps = f"import resource; resource.setrlimit(resource.RLIMIT_CORE, ({hard}, {hard})); "
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", dumps + code], cwd=folder, check=False, env={"PYTHONPATH": str(root)})
    assert done.returncode == -signal.SIGABRT
    return list(folder.iterdir())


def test_a_guarded_process_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "guarded").mkdir()
    (tmp_path / "bare").mkdir()
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if "/" not in pattern and not pattern.startswith("|") and hard != 0:
        assert dies(tmp_path / "bare", _DIE) != [], "this host does write dumps"
    assert dies(tmp_path / "guarded", _GUARDED) == []


def test_the_kernel_calls_it_undumpable() -> None:
    code = _GUARDED.replace(_DIE, "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
