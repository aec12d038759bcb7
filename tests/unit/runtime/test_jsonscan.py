"""The scan of a body against the parser of the standard library: the same verdict, however the bytes are cut."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpu_provider.runtime.callback.jsonscan import json_problem

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**80, 10**90)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=10,
)


def problem(body: bytes, piece: int = 7, *, depth: int = 128, values: int = 10_000) -> str:
    return json_problem((body[at : at + piece] for at in range(0, len(body), piece)), depth=depth, values=values)


def parses(body: bytes) -> bool:
    def no_constant(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(body.decode(), parse_constant=no_constant)
    except ValueError:
        return False
    return True


@given(st.text(alphabet='[]{},:"\\ u01-.eE+tfn\n\x01a/rlé', max_size=14).map(str.encode), st.integers(1, 5))
def test_of_any_text(body: bytes, piece: int) -> None:
    assert (problem(body, piece) == "") == parses(body)


@settings(max_examples=50)
@given(JSON, st.booleans(), st.integers(1, 40), st.integers(0, 60), st.sampled_from(list('[]{},:"\\ 0')))
def test_of_json_and_of_what_is_nearly_json(value: object, ascii: bool, piece: int, at: int, mark: str) -> None:
    body = json.dumps(value, ensure_ascii=ascii).encode()
    assert problem(body, piece) == ""
    for changed in (body[:at], body[:at] + mark.encode() + body[at:], body[:at] + body[at + 1 :]):
        assert (problem(changed, piece) == "") == parses(changed), changed


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'"a', "ends too early"),
        (b"[1,", "ends too early"),
        (b"[1 2]", "'2' at character 3"),
        (b'{"a" 1}', "'1' at character 5"),
        (b"NaN", "'N' at character 0"),
        (b'"\xff"', "is not UTF-8 after byte"),
        (b"1" * 5000, "is not JSON"),
        (b"[" + b"1" * 5000 + b",1]", "is not JSON"),
        (b"1" * 50_000, "more than 4300 digits"),
    ],
)
def test_it_says_where(body: bytes, said: str) -> None:
    assert said in problem(body)


def test_depth_and_number_of_values_have_limits() -> None:
    assert problem(b"[" * 5 + b"]" * 5, depth=5) == ""
    assert problem(b"[" * 6 + b"]" * 6, depth=5) == "is nested deeper than 5"
    assert problem(b'{"a":' * 1000, depth=5) == "is nested deeper than 5"
    assert problem(b'[[],{"a":1},"x"]', values=6) == ""
    assert problem(b'[[],{"a":1},"x"]', values=5) == "has more than 5 values"
    assert problem(json.dumps([0.5] * 100_000).encode(), values=5) == "", "numbers in a list are only as many as fit"


def test_no_document_costs_memory() -> None:
    """A parser would need 12 MB for the first and 6 MB for the last."""
    for body in (b"[" + b"[]," * 200_000 + b"1]", b'"' + b"\\n" * 900_000 + b'"', b"[" + b"1.5," * 200_000 + b"1]"):
        pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
        tracemalloc.start()
        try:
            assert json_problem(pieces, depth=128, values=1_000_000) == ""
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1 << 20
