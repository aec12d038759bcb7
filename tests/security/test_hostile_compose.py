"""Every known way out of a compose file is refused, for the reason its file names, and quickly."""

import time
from pathlib import Path

import pytest

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.check import check

HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.yml"))


def expected(text: str) -> tuple[str, str]:
    line = next(line for line in text.splitlines() if line.startswith("# refused: "))
    code, _, key = line.removeprefix("# refused: ").partition(" ")
    return code, key


def test_the_corpus_is_there() -> None:
    assert len(HOSTILE) > 100


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
@pytest.mark.parametrize("environment", list(Environment), ids=lambda environment: environment.label)
def test_a_hostile_file_is_refused_with_its_reason(path: Path, environment: Environment) -> None:
    text = path.read_bytes()
    started = time.perf_counter()
    checked = check(text, environment)
    assert time.perf_counter() - started < 1.0
    assert not checked.accepted
    assert checked.rendered == b""
    code, key = expected(text.decode())
    assert (code, key) in {(violation.code, violation.key) for violation in checked.violations}, checked.violations


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_the_line_of_a_violation_is_in_the_file(path: Path) -> None:
    text = path.read_bytes()
    for violation in check(text, Environment.CPU).violations:
        assert 0 <= violation.line <= text.count(b"\n") + 1
        assert violation.message


@pytest.mark.parametrize("path", [path for path in HOSTILE if path.stem != "control-characters"], ids=lambda p: p.stem)
def test_a_violation_says_nothing_that_moves_the_cursor(path: Path) -> None:
    for violation in check(path.read_bytes(), Environment.CPU).violations:
        assert str(violation).isprintable()
