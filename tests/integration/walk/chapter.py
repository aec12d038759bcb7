"""The blocks of shell commands in a chapter of a document."""

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```sh(?: host=(\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """`host`: on which one, empty for the first."""

    host: str
    text: str


def blocks(document: Path, chapter: str) -> list[Block]:
    """In order. AssertionError if there is no such chapter."""
    found = re.search(rf"^## {re.escape(chapter)}\n(.*?)(?=^## |\Z)", document.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no chapter {chapter}"
    return [Block(host or "", text) for host, text in _BLOCK.findall(found[1])]
