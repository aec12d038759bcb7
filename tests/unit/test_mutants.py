"""A sample of small defects in fees, sender and journal: the tests notice them. `scripts/mutate` tries all."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.mutation.changes import Mutant
from tests.mutation.verdicts import Verdicts

ROOT = Path(__file__).resolve().parents[2]
OF_EACH = 6


@pytest.mark.timeout(2400)
def test_a_sample_of_small_defects_is_noticed() -> None:
    tried = subprocess.run(
        [sys.executable, ROOT / "scripts" / "mutate", "--sample", str(OF_EACH)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert f"of {3 * OF_EACH} noticed" in tried.stdout


def test_no_equivalent_mutant_is_listed_without_a_reason() -> None:
    lines = (ROOT / "tests" / "equivalent_mutants.txt").read_text().splitlines()
    assert lines[0].startswith("# ")
    for before, line in pairwise(lines):
        assert line.startswith("# ") or before.startswith("# ") or before.split(":")[0] == line.split(":")[0]


def test_a_run_that_was_ended_is_gone_on_with_but_for_what_was_changed_or_not_noticed(tmp_path: Path) -> None:
    seen, unseen = (Mutant("code.py", line, "", f"code.py: {line}", (line, 0)) for line in (1, 2))
    (tmp_path / "code.py").write_text("1")
    first = Verdicts(tmp_path / "kept", tmp_path)
    first.note(seen, True)
    first.note(unseen, False)
    second = Verdicts(tmp_path / "kept", tmp_path)
    assert (second.noticed(seen), second.noticed(unseen)) == (True, False)
    (tmp_path / "code.py").write_text("2")
    assert not Verdicts(tmp_path / "kept", tmp_path).noticed(seen)
