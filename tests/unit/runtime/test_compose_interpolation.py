import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.runtime.compose.document import Scalar, parse
from ogpu_provider.runtime.compose.interpolation import interpolate
from ogpu_provider.runtime.compose.violation import Violation

KNOWN = {"PORT": "4000", "CALLBACK_URL": "http://host/t", "EMPTY": ""}


def result(text: str) -> tuple[str, tuple[Violation, ...]]:
    tree = parse(("a: '" + text.replace("'", "''") + "'").encode())
    replaced, faults = interpolate(tree, KNOWN)
    value = replaced.get("a")
    assert isinstance(value, Scalar)
    return value.text, faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${PORT}:5555", "4000:5555"),
        ("$PORT-$CALLBACK_URL", "4000-http://host/t"),
        ("$$PORT $${PORT}", "$PORT ${PORT}"),
        ("${NOPE:-8}", "8"),
        ("${NOPE-8}", "8"),
        ("${PORT:-8}", "4000"),
        ("${EMPTY:-8}", "8"),
        ("${EMPTY-8}", ""),
        ("${NOPE:-${PORT}}", "4000"),
        ("${NOPE:-a$$b}", "a$b"),
        ("${PORT:+yes}", "yes"),
        ("${NOPE:+yes}", ""),
        ("${EMPTY:+yes}", ""),
        ("${EMPTY+yes}", "yes"),
        ("${PORT:?why}", "4000"),
    ],
)
def test_the_grammar_of_compose(text: str, value: str) -> None:
    assert result(text) == (value, ())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("${HOME}", "compose.variable"),
        ("$HOME", "compose.variable"),
        ("${NOPE:?why}", "compose.variable"),
        ("${EMPTY:?why}", "compose.variable"),
        ("${PORT", "compose.variable"),
        ("${}", "compose.variable"),
        ("cost: 5$", "compose.variable"),
        ("${PORT^^}", "compose.variable"),
        ("${PROVIDER_PRIVATE_KEY:-}", "compose.secret"),
        ("${PORT:-${PROVIDER_PRIVATE_KEY}}", "compose.secret"),
        ("${PORT:+$WALLET_MNEMONIC}", "compose.secret"),
        ("${A:-${B:-${C:-${D:-${E:-${F:-${G:-${H:-${I:-${J:-x}}}}}}}}}}", "compose.variable"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    _, faults = result(text)
    assert [fault.code for fault in faults] == ([code] if code else [])


def test_the_fault_names_its_place() -> None:
    _, (fault,) = interpolate(parse(b"services:\n  a:\n    environment:\n      - X=${HOME}\n"), KNOWN)
    assert (fault.key, fault.line) == ("services.a.environment[0]", 4)


def test_keys_are_left_alone() -> None:
    root, faults = interpolate(parse(b'"${PORT}": 1'), KNOWN)
    assert (root.entries[0].key, faults) == ("${PORT}", ())


@given(st.text(alphabet="${}:-?+APORTNOPE ", max_size=60))
def test_any_text_is_replaced_or_refused(text: str) -> None:
    value, faults = result(text)
    if not faults and "$$" not in text:
        assert "$" not in value
