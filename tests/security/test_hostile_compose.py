"""Every known way out of a compose file is refused, for the reason its file names, and quickly."""

import time
from pathlib import Path

import pytest

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.check import check
from ogpu_provider.runtime.compose.rules import RULES, WAIVABLE, page

HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.yml"))


def expected(text: str) -> tuple[str, str]:
    line = next(line for line in text.splitlines() if line.startswith("# refused: "))
    code, _, key = line.removeprefix("# refused: ").partition(" ")
    return code, key


def test_the_corpus_is_there() -> None:
    assert len(HOSTILE) > 100


def test_every_rule_has_a_file_that_it_refuses() -> None:
    assert {expected(path.read_text())[0] for path in HOSTILE} == set(RULES)


def test_the_page_about_the_rules_is_the_table_of_the_gate() -> None:
    written = Path(__file__).parents[2] / "docs" / "compose-rules.md"
    assert written.read_text() == page(), "python -m ogpu_provider.runtime.compose.rules > docs/compose-rules.md"


def test_few_rules_can_be_lifted() -> None:
    assert {"compose.bind_mount", "compose.shm_size", "compose.ipc_private"} == WAIVABLE


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_lifting_every_rule_at_once_lifts_only_those_three(path: Path) -> None:
    code, _ = expected(path.read_text())
    if code not in WAIVABLE:
        assert not any(check(path.read_bytes(), each, waived=frozenset(RULES)).accepted for each in Environment)


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
    found = {(violation.code, "*" if key == "*" else violation.key) for violation in checked.violations}
    assert (code, key) in found, checked.violations


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_the_line_of_a_violation_is_in_the_file(path: Path) -> None:
    text = path.read_bytes()
    for violation in check(text, Environment.CPU).violations:
        assert 0 <= violation.line <= text.count(b"\n") + 1
        assert violation.message
        assert violation.remedy
        assert violation.code in RULES


@pytest.mark.parametrize("path", [path for path in HOSTILE if path.stem != "control-characters"], ids=lambda p: p.stem)
def test_a_violation_says_nothing_that_moves_the_cursor(path: Path) -> None:
    for violation in check(path.read_bytes(), Environment.CPU).violations:
        assert str(violation).isprintable()
