"""Files as ordinary projects have them: run, or refused with a line that an author can find and a remedy that helps."""

from pathlib import Path

import pytest

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.check import check

ORDINARY = sorted((Path(__file__).parent / "ordinary").glob("*.yml"))
ADMITTED = [path for path in ORDINARY if "# admitted: " in path.read_text()]
REFUSED = [path for path in ORDINARY if path not in ADMITTED]
ENVIRONMENTS = {environment.label: environment for environment in Environment}


def said(path: Path, word: str) -> list[str]:
    return [
        line.removeprefix(f"# {word}: ") for line in path.read_text().splitlines() if line.startswith(f"# {word}: ")
    ]


@pytest.mark.parametrize("path", ADMITTED, ids=lambda path: path.stem)
def test_an_ordinary_project_is_run(path: Path) -> None:
    (environment,) = said(path, "admitted")
    checked = check(path.read_bytes(), ENVIRONMENTS[environment])
    assert not checked.violations
    assert checked.devices == (environment != "cpu")


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_all_that_keeps_a_project_from_running_is_told_at_once(path: Path) -> None:
    """Nothing more and nothing less, so that an author who does what is said is admitted."""
    lines = path.read_text().splitlines()
    violations = check(path.read_bytes(), Environment.AMD if "rocm" in path.stem else Environment.NVIDIA).violations
    assert {f"{each.code} {each.key}" for each in violations} == set(said(path, "refused"))
    for violation in violations:
        name = violation.key.rpartition(".")[2].partition("[")[0]
        assert name in lines[violation.line - 1] or violation.key.endswith("]")
        assert violation.remedy
