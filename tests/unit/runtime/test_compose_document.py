import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.runtime.compose.document import MAX_BYTES, Mapping, Scalar, Sequence, parse
from ogpu_provider.runtime.compose.violation import GateRefused


def refusal(text: bytes) -> tuple[str, int]:
    with pytest.raises(GateRefused) as caught:
        parse(text)
    (violation,) = caught.value.violations
    return violation.code, violation.line


def test_lines_are_kept() -> None:
    root = parse(b"a: 1\nb:\n  - x\n  - y\n")
    assert [entry.line for entry in root.entries] == [1, 2]
    items = root.get("b")
    assert isinstance(items, Sequence)
    assert [item.line for item in items.items] == [3, 4]


def test_quoted_text_is_never_null() -> None:
    root = parse(b"a: null\nb: 'null'\nc:\n")
    assert [isinstance(e.value, Scalar) and e.value.null for e in root.entries] == [True, False, True]


def test_a_port_pair_is_text_and_no_number_to_base_sixty() -> None:
    value = parse(b"p: 12436:11434").get("p")
    assert isinstance(value, Scalar)
    assert value.text == "12436:11434"


def test_merged_keys_yield_to_own_keys() -> None:
    root = parse(b"x: &x {a: 1, b: 1}\ny: {<<: *x, b: 2}\nz: {<<: [*x, {c: 3}]}")
    merged = root.get("y")
    assert isinstance(merged, Mapping)
    assert {e.key: e.value.text for e in merged.entries if isinstance(e.value, Scalar)} == {"a": "1", "b": "2"}
    several = root.get("z")
    assert isinstance(several, Mapping)
    assert {entry.key for entry in several.entries} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (b"a: 1\na: 2\n", "compose.duplicate_key", 2),
        (b"a: 1\n---\nb: 2\n", "compose.documents", 2),
        (b"a: !!int 1\n", "compose.tag", 1),
        (b"\na: *nowhere\n", "compose.alias", 2),
        (b"a: [1\n", "compose.syntax", 2),
        (b"[]\n", "compose.syntax", 1),
        (b"", "compose.syntax", 1),
        (b"a:\n  \xff\n", "compose.syntax", 2),
        (b"? [a]\n: 1\n", "compose.key", 1),
        (b'"a\\nb": 1\n', "compose.key", 1),
        (b"#" * (MAX_BYTES + 1), "compose.too_large", 1),
        (b"a: " + b"[" * 40 + b"]" * 40, "compose.too_deep", 1),
        (b"a:\n" + b"- 1\n" * 30_000, "compose.too_many_nodes", 1_999),
    ],
)
def test_what_is_refused(text: bytes, code: str, line: int) -> None:
    assert refusal(text) == (code, line)


def test_depth_counts_through_aliases() -> None:
    inner = "&a " + "[" * 20 + "]" * 20
    assert refusal(f"a: {inner}\nb: {'[' * 20}*a{']' * 20}\n".encode()) == ("compose.too_deep", 2)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_mapping_or_refused(text: bytes) -> None:
    try:
        root = parse(text)
    except GateRefused:
        return
    assert isinstance(root, Mapping)
