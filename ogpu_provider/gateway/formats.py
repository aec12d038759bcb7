"""A result as JSON, as CSV, or as the bytes that one of its fields holds. Pure."""

import base64
import binascii
import csv
import io
import json
from typing import Any

from ogpu_provider.domain.documents import read_json
from ogpu_provider.gateway.problems import Problem

_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"RIFF", "audio/wav"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(body: bytes, form: str) -> tuple[bytes, str]:
    """The result in `form` (json, csv, binary) with its content type. Raises Problem 406."""
    if form == "json":
        return body, "application/json"
    value = read_json(body)
    return (_table(value), "text/csv; charset=utf-8") if form == "csv" else _binary(value)


def _table(value: Any) -> bytes:
    rows = _rows(value)
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_cell(name) for name in names])
    writer.writerows([[_cell(row.get(name)) for name in names] for row in rows])
    return out.getvalue().encode()


def _rows(value: Any) -> list[dict[str, Any]]:
    """A list of flat objects, or the only such list in an object, or one flat object."""
    if isinstance(value, dict):
        inner = [one for one in value.values() if isinstance(one, list)]
        value = inner[0] if len(inner) == 1 and len(value) == 1 else [value]
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        raise Problem(406, "result.not_a_table", "the result is no list of objects; ask for format=json")
    nested = sorted({name for row in value for name, cell in row.items() if isinstance(cell, dict | list)})
    if nested:
        raise Problem(406, "result.not_a_table", f"nested values in {', '.join(nested)[:200]}; ask for format=json")
    return value


def _cell(value: Any) -> str:
    """Text that a spreadsheet does not take for a formula."""
    if isinstance(value, str):
        return "'" + value if value.startswith(_FORMULA) else value
    return "" if value is None else json.dumps(value)


def _binary(value: Any) -> tuple[bytes, str]:
    """The bytes of the only field that holds base64."""
    fields = value.items() if isinstance(value, dict) else ()
    found = [raw for _, text in fields if isinstance(text, str) and (raw := _decoded(text)) is not None]
    if len(found) != 1:
        raise Problem(406, "result.not_binary", f"{len(found)} fields hold base64, not one; ask for format=json")
    kind = next((kind for magic, kind in _TYPES if found[0].startswith(magic)), "application/octet-stream")
    return found[0], kind


def _decoded(text: str) -> bytes | None:
    text = text.partition(";base64,")[2] if text.startswith("data:") else text
    if len(text) < 16 or len(text) % 4:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
