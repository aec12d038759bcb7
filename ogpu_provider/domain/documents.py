"""JSON from strangers, read without trusting the interpreter's recursion limit: libraries raise it process-wide, and a
deep document then ends the process instead of raising RecursionError."""

import json
import re
from typing import Any

DEPTH = 128
_MARKS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)


def nested_deeper(body: bytes, depth: int) -> bool:
    """Whether brackets outside strings open more than `depth` levels; one pass, no recursion."""
    level = 0
    for mark in _MARKS.finditer(body):
        first = body[mark.start()]
        if first in b"[{":
            level += 1
            if level > depth:
                return True
        elif first in b"]}":
            level -= 1
    return False


def read_json(body: bytes, depth: int = DEPTH) -> Any:
    """The value of a JSON document. Raises ValueError, also for one nested deeper than `depth`."""
    if nested_deeper(body, depth):
        raise ValueError(f"nested deeper than {depth} levels")
    return json.loads(body)
