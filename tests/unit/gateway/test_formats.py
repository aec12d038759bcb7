"""A result in three formats, or a clear refusal."""

import base64
import json

import pytest

from ogpu_provider.gateway.formats import render
from ogpu_provider.gateway.problems import Problem

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([{"a": 1, "b": "x"}, {"a": 2}], "a,b\r\n1,x\r\n2,\r\n"),
        ({"rows": [{"a": True}]}, "a\r\ntrue\r\n"),
        ({"a": 1, "b": None}, "a,b\r\n1,\r\n"),
        ([{"a": "=HYPERLINK(1)"}], "a\r\n'=HYPERLINK(1)\r\n"),
    ],
)
def test_a_table_is_csv(value: object, text: str) -> None:
    assert render(json.dumps(value).encode(), "csv") == (text.encode(), "text/csv; charset=utf-8")


@pytest.mark.parametrize("value", [[{"a": {"b": 1}}], [1, 2], "text", [], {"a": 1, "b": [1]}])
def test_what_is_no_table_is_refused_for_csv(value: object) -> None:
    with pytest.raises(Problem) as refused:
        render(json.dumps(value).encode(), "csv")
    assert (refused.value.status, refused.value.code) == (406, "result.not_a_table")


def test_the_field_with_base64_is_binary_with_its_type() -> None:
    text = base64.b64encode(PNG).decode()
    assert render(json.dumps({"image": text, "n": 1}).encode(), "binary") == (PNG, "image/png")
    with pytest.raises(Problem):
        render(json.dumps({"image": text, "again": text}).encode(), "binary")
    with pytest.raises(Problem):
        render(b'{"result": 42}', "binary")
