"""A result as JSON, as CSV, or as the bytes that one of its fields holds. Pure."""

import base64
import binascii
import csv
import io
import json
import re
from typing import Any

from ogpu_provider.domain.documents import read_json
from ogpu_provider.gateway.problems import Problem

_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"RIFF....WAVE", "audio/wav"),
    (b"ID3|\xff[\xfb\xf3\xf2]", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (rb"....ftyp", "video/mp4"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)
_HARMLESS = re.compile(
    r"(?:image/(?!svg)|audio/|video/|font/|model/|application/(?:pdf|zip|gzip|octet-stream)$)[\w.+-]*"
)
"""Types that a browser may be told by a stranger's result: none that it runs as a page of ours."""
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})+")
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
    """The bytes of the only field that holds base64, or 0x and hex digits where none does; and their type: by their
    first bytes, else as the result says.

    Where several hold base64, the only one with a known type: a word or a digest may look like it, too.
    """
    texts = [text for text in value.values() if isinstance(text, str)] if isinstance(value, dict) else []
    found = [pair for text in texts if (pair := _decoded(text)) is not None]
    if len(found) > 1:
        found = [pair for pair in found if pair[1]]
    elif not found:
        found = [_typed(bytes.fromhex(text[2:])) for text in texts if _BYTES.fullmatch(text)]
    if len(found) != 1:
        raise Problem(406, "result.not_binary", "not exactly one of its fields holds bytes; ask for format=json")
    raw, kind = found[0]
    told = next((value[name] for name in ("content_type", "media_type", "mime_type") if name in value), "")
    return raw, kind or _harmless(str(told)) or "application/octet-stream"


def _decoded(text: str) -> tuple[bytes, str] | None:
    """The bytes, and their type where they or their data URL tell it."""
    head, _, data = text.partition(";base64,") if text.startswith("data:") else ("", "", text)
    if len(data) < 16 or len(data) % 4 or (not head and _HEX.fullmatch(data)):
        return None
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        return None
    return _typed(raw, _harmless(head.removeprefix("data:")))


def _typed(raw: bytes, told: str = "") -> tuple[bytes, str]:
    return raw, next((kind for magic, kind in _TYPES if re.match(magic, raw, re.DOTALL)), told)


def _harmless(kind: str) -> str:
    return kind if _HARMLESS.fullmatch(kind) else ""
