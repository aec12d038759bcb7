"""scripts/engine starts an engine only where none answers, and stops only the one that it started."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "docker": 'test -e "$FLAG"',
    "dockerd": 'touch "$FLAG"; exec sleep 60',
    "docker-registry": "exit 0",
    "debootstrap": "exit 0",
    "apt-get": "exit 1",
}
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or Path("/run/systemd/system").exists(),
    reason="the script starts dockerd itself only as root without systemd",
)


class Checkout:
    """The scripts, with programs that pretend to be an engine."""

    def __init__(self, folder: Path) -> None:
        self.flag, self.pid_file = folder / "answers", folder / ".tools" / "engine.pid"
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        (folder / "bin").mkdir()
        for name, body in PROGRAMS.items():
            program = folder / "bin" / name
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
        self._script = folder / "scripts" / "engine"
        self._environ = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "FLAG": str(self.flag)}

    def engine(self, word: str) -> subprocess.CompletedProcess[str]:
        argv = [str(self._script), word]
        return subprocess.run(argv, env=self._environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_an_engine_that_answers_is_used_and_left_running(checkout: Checkout) -> None:
    checkout.flag.touch()
    assert checkout.engine("start").returncode == 0
    assert not checkout.pid_file.exists()
    assert checkout.engine("stop").returncode == 0


def test_what_was_started_is_stopped(checkout: Checkout) -> None:
    assert checkout.engine("start").returncode == 0
    pid = int(checkout.pid_file.read_text().split()[0])
    assert Path(f"/proc/{pid}").exists()
    assert checkout.engine("start").returncode == 0
    assert int(checkout.pid_file.read_text().split()[0]) == pid
    assert checkout.engine("stop").returncode == 0
    assert not Path(f"/proc/{pid}/exe").exists()
    assert not checkout.pid_file.exists()


def test_a_later_process_with_the_same_number_is_not_stopped(checkout: Checkout) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        checkout.pid_file.parent.mkdir()
        checkout.pid_file.write_text(f"{other.pid} 1\n")
        assert checkout.engine("stop").returncode == 0
        assert other.poll() is None
        other.kill()


def test_an_engine_that_does_not_start_is_an_error_with_its_log(checkout: Checkout) -> None:
    program = checkout.pid_file.parents[1] / "bin" / "dockerd"
    program.write_text("#!/bin/sh\necho no cgroups here\nexit 1\n")
    done = checkout.engine("start")
    assert done.returncode == 1
    assert "no cgroups here" in done.stderr
    assert "remedy: " in done.stderr
    assert not checkout.pid_file.exists()
