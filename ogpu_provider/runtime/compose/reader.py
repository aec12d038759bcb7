"""Typed access to a tree: a wrong kind becomes a violation with its line, and reading goes on."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ogpu_provider.runtime.compose.document import Entry, Mapping, Node, Scalar, Sequence
from ogpu_provider.runtime.compose.rules import WAIVABLE
from ogpu_provider.runtime.compose.violation import Difference, Violation

T = TypeVar("T")
_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,16})")
_DECIMAL = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)")
"""Without leading zeros, which YAML 1.1 reads as another base."""


@dataclass(slots=True)
class Findings:
    violations: list[Violation] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    waived: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Field:
    """A node with its path. Every `as_*` returns None for null and for what it refused."""

    node: Node
    path: str
    found: Findings
    line: int
    """Where its key stands, or the item itself."""

    @property
    def null(self) -> bool:
        return isinstance(self.node, Scalar) and self.node.null

    def refuse(self, code: str, message: str, remedy: str = "") -> None:
        self.found.violations.append(Violation(code, self.path, self.line, message, remedy))

    def waived(self, code: str, message: str) -> bool:
        """Whether the operator lifted this rule for this file; refused otherwise."""
        if code in self.found.waived & WAIVABLE:
            self.note(f"{message}; waived by the operator")
            return True
        self.refuse(code, message)
        return False

    def note(self, message: str) -> None:
        self.found.differences.append(Difference(self.path, self.line, message))

    def child(self, entry: Entry) -> "Field":
        return Field(entry.value, f"{self.path}.{entry.key}" if self.path else entry.key, self.found, entry.line)

    def part(self, *keys: str) -> "Field":
        """The first of these keys that is there; this very field where none is."""
        found = (entry for key in keys for entry in _entries(self.node) if entry.key == key)
        entry = next(found, None)
        return self if entry is None else self.child(entry)

    def entries(self) -> Iterator[tuple[str, "Field"]]:
        if isinstance(self.node, Mapping):
            for entry in self.node.entries:
                yield entry.key, self.child(entry)
        elif not self.null:
            self.refuse("compose.type", "must be a mapping")

    def items(self) -> Iterator["Field"]:
        if isinstance(self.node, Sequence):
            for index, item in enumerate(self.node.items):
                yield Field(item, f"{self.path}[{index}]", self.found, item.line)
        elif not self.null:
            self.refuse("compose.type", "must be a list")

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, Mapping)

    @property
    def is_list(self) -> bool:
        return isinstance(self.node, Sequence)

    def text(self) -> str | None:
        if not isinstance(self.node, Scalar):
            self.refuse("compose.type", "must be text")
            return None
        return None if self.node.null else self.node.text

    def flag(self) -> bool | None:
        text = self.text()
        if text is None:
            return None
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        self.refuse("compose.type", f"{text[:40]!r} is neither true nor false")
        return None

    def number(self) -> int | None:
        text = self.text()
        if text is None:
            return None
        if _WHOLE.fullmatch(text):
            return int(text)
        self.refuse("compose.type", f"{text[:40]!r} is not a whole number")
        return None

    def decimal(self) -> float | None:
        text = self.text()
        if text is None:
            return None
        if len(text) <= 18 and _DECIMAL.fullmatch(text):
            return float(text)
        self.refuse("compose.type", f"{text[:40]!r} is not a number")
        return None

    def parsed(self, read: Callable[[str], T], code: str = "compose.type") -> T | None:
        text = self.text()
        if text is None:
            return None
        try:
            return read(text)
        except ValueError as error:
            self.refuse(code, str(error))
            return None

    def words(self) -> str | tuple[str, ...] | None:
        """A command: text, or a list of words."""
        if not self.is_list:
            return self.text()
        return tuple(word for item in self.items() if (word := item.text()) is not None)

    def texts(self) -> tuple[str, ...]:
        """A list of texts, or one text alone."""
        return tuple(text for _, text in self.each())

    def each(self) -> Iterator[tuple["Field", str]]:
        """The same, each with its place."""
        for item in (self,) if isinstance(self.node, Scalar) else self.items():
            text = item.text()
            if text is not None:
                yield item, text

    def pairs(self) -> Iterator[tuple[str, "Field", str | None]]:
        """`{A: 1}` or `[A=1]`: name, where it is, value; None where only the name is given."""
        if self.is_list:
            for item in self.items():
                text = item.text()
                if text is not None:
                    name, equals, value = text.partition("=")
                    yield name, item, value if equals else None
        else:
            for name, at in self.entries():
                yield name, at, at.text()


def _entries(node: Node) -> tuple[Entry, ...]:
    return node.entries if isinstance(node, Mapping) else ()
