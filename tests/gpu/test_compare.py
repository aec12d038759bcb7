"""`devices --compare` as it runs on a host with a card: the real binding, and a program of that name on the path."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ogpu_provider.scheduler.comparison import QUERY
from tests.gpu.machine import ROOT, Machine

CARD = f"gpu|GPU-1|NVIDIA RTX 4090|{24564 << 20}|{4608 << 20}|ok|off"
GAUGES = {
    "reserved": 512 << 20,
    "utilisation": 97,
    "memory_utilisation": 40,
    "temperature": 71,
    "power": 312500,
    "power_limit": 450000,
    "clock": 2520,
    "clock_memory": 10251,
    "clock_max": 3105,
    "clock_memory_max": 10501,
    "pcie_width": 16,
    "pcie_width_max": 16,
    "pcie_generation": 4,
    "ecc_corrected": 0,
    "ecc_uncorrected": 0,
}
ANSWER = (
    "GPU-1, 580.65.06, NVIDIA RTX 4090, 24564, 4096, 512, 55, 20, 70, 309.12, 450.00, 2505, 10251, 3105, 10501, "
    "{width}, 16, 4, 0, 0"
)


def compared(machine: Machine, folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command beside a program `nvidia-smi` that is this script."""
    tool = folder / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    path = f"{tool.parent}:{os.environ['PATH']}"
    environment = {**machine.environment, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    command = [sys.executable, "-m", "ogpu_provider.cli.main", "devices", "--compare", *words]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def one_card(machine: Machine) -> Machine:
    machine.script(CARD, *(f"gauge|{name}|{value}" for name, value in GAUGES.items()))
    return machine


def test_a_card_that_both_see_alike(one_card: Machine, tmp_path: Path) -> None:
    script = f'test "$1" = "--query-gpu={",".join(QUERY)}" || exit 9\necho "{ANSWER.format(width=16)}"'
    answer = compared(one_card, tmp_path, script, "--json")
    found = json.loads(answer.stdout)
    assert (answer.returncode, found["differ"], len(found["fields"])) == (0, 0, len(QUERY))
    assert {field["is"] for field in found["fields"]} == {"same", "near", "shown"}
    assert found["reading_s"] > 0


def test_a_difference_is_named_and_is_the_exit_code(one_card: Machine, tmp_path: Path) -> None:
    answer = compared(one_card, tmp_path, f'echo "{ANSWER.format(width=8)}"')
    assert answer.returncode == 1
    (line,) = [line for line in answer.stdout.splitlines() if "differs" in line]
    assert line.split() == ["GPU-1", "pcie.link.width.current", "16", "8", "differs"]
    assert "20 fields, 1 differ" in answer.stdout


def test_a_tool_that_fails_is_no_difference(one_card: Machine, tmp_path: Path) -> None:
    answer = compared(one_card, tmp_path, "echo 'NVIDIA-SMI has failed'; exit 9")
    assert answer.returncode == 3
    assert "device.not_comparable" in answer.stderr
    assert "NVIDIA-SMI has failed" in answer.stderr
