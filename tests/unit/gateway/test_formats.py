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


RAW = bytes(range(100, 124))
TEXT, PICTURE = base64.b64encode(RAW).decode(), base64.b64encode(PNG).decode()
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    ("value", "raw", "kind"),
    [
        ({"image": PICTURE, "n": 1}, PNG, "image/png"),
        ({"image": PICTURE, "sha256": DIGEST, "model": "abcdefghijklmnop"}, PNG, "image/png"),  # base64 by accident
        ({"data": TEXT}, RAW, "application/octet-stream"),
        ({"data": TEXT, "content_type": "audio/mpeg"}, RAW, "audio/mpeg"),
        ({"data": f"data:font/woff2;base64,{TEXT}"}, RAW, "font/woff2"),
        ({"data": f"data:image/jpeg;base64,{PICTURE}"}, PNG, "image/png"),  # what it is, not what it says
        ({"data": f"data:text/html;base64,{TEXT}"}, RAW, "application/octet-stream"),  # nothing that a browser runs
        ({"data": TEXT, "media_type": "image/svg+xml"}, RAW, "application/octet-stream"),
        ({"data": TEXT, "mime_type": "image/png\r\nSet-Cookie: a"}, RAW, "application/octet-stream"),
        ({"data": "0x" + RAW.hex(), "n": 1}, RAW, "application/octet-stream"),
    ],
)
def test_the_field_with_bytes_is_binary_with_its_type(value: object, raw: bytes, kind: str) -> None:
    assert render(json.dumps(value).encode(), "binary") == (raw, kind)


@pytest.mark.parametrize("value", [{"a": PICTURE, "b": PICTURE}, {"a": TEXT, "b": TEXT}, {"result": 42}, [TEXT], TEXT])
def test_what_is_not_one_field_with_bytes_is_refused(value: object) -> None:
    with pytest.raises(Problem) as refused:
        render(json.dumps(value).encode(), "binary")
    assert (refused.value.status, refused.value.code) == (406, "result.not_binary")
