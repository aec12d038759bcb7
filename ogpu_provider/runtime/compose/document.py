"""YAML text as a tree that remembers its lines, under strict limits.

Built from the parser's events, so that nothing is constructed before its size, depth and kind are known. One
document, no tags, no duplicate keys; aliases are shared, but counted as if they were written out.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from ogpu_provider.runtime.compose.violation import GateRefused, Violation

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 2_000
MAX_CHARACTERS = 2 * MAX_BYTES
"""Of all keys and values, aliases written out: a long text under many aliases is a bomb as well."""
MAX_KEY = 200
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DECEIVING = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff"
)
"""Control characters, those that turn the direction of text, and those that nobody sees: a person would read another
file than we do. The joiners U+200C and U+200D stay: there are languages that need them."""
_UNPRINTABLE = re.compile(f"[{_DECEIVING}\r]")
_HIDDEN = re.compile(f"[{_DECEIVING}]|\r(?!\n)")
_NOT_TEXT = re.compile(r"(?i)true|false|null|~|[-+]?[0-9][0-9_]*(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|0x[0-9a-f]+|0o[0-7]+|")
"""What YAML reads as something else than text where it is not quoted: as a key it has no one meaning."""
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class Scalar:
    """`plain` is False for quoted and block text, which is never a number, a boolean or null."""

    text: str
    plain: bool
    line: int

    @property
    def null(self) -> bool:
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple["Node", ...]
    line: int


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    value: "Node"
    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    entries: tuple[Entry, ...]
    line: int

    def get(self, key: str) -> "Node | None":
        return next((entry.value for entry in self.entries if entry.key == key), None)


Node = Scalar | Sequence | Mapping


def parse(text: bytes, builder: "_Builder | None" = None) -> Mapping:
    """Read one document whose root is a mapping. Raises GateRefused with the line of the first fault."""
    if len(text) > MAX_BYTES:
        raise _refused("compose.too_large", f"the file has {len(text)} bytes, more than {MAX_BYTES}")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _refused("compose.syntax", f"not UTF-8 at byte {error.start}", line) from error
    builder = builder or _Builder()
    try:
        for event in yaml.parse(decoded, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _refused("compose.syntax", str(error.problem or "not YAML"), line, builder.path) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused("compose.syntax", f"not YAML: {error}", 1, builder.path) from error
    if not isinstance(builder.root, Mapping):
        raise _refused("compose.syntax", "the file is not a mapping")
    return builder.root


def hidden(text: bytes) -> tuple[Violation, ...]:
    """What `parse` does not see: deceiving characters in comments, and line ends that few programs show as such."""
    decoded = text.decode("utf-8", "replace").removeprefix("\ufeff")
    found = _HIDDEN.search(decoded)
    if found is None:
        return ()
    line = decoded.count("\n", 0, found.start()) + 1
    return (Violation("compose.control_character", "", line, _shown(found[0])),)


def _shown(character: str) -> str:
    return f"the character U+{ord(character):04X}, which is not seen, or hides what stands there"


@dataclass(slots=True)
class _Open:
    """A collection whose end was not seen yet. `weight` is that of it with everything below, aliases written out."""

    mapping: bool
    anchor: str | None
    line: int
    weight: "_Weight"
    height: int = 1
    items: list[Node] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Weight:
    nodes: int = 0
    characters: int = 0

    def add(self, other: "_Weight") -> None:
        self.nodes += other.nodes
        self.characters += other.characters


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    weight: _Weight
    height: int


class _Builder:
    def __init__(self) -> None:
        self.root: Node | None = None
        self._documents = 0
        self._total = _Weight()
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}

    @property
    def path(self) -> str:
        """Where the parser is: services.web.ports[1]."""
        path = ""
        for place in self._stack:
            if not place.mapping:
                path += f"[{len(place.items)}]"
            elif len(place.items) % 2:
                path = _below(path, place.items[-1])
        return path

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._fault("compose.documents", line, "a second document; compose would merge it over the first")
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor, line)
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event, line)
            weight = _Weight(1, len(event.value))
            self._count(weight, line)
            scalar = Scalar(event.value, event.style is None or event.style == "", line)
            deceiving = _UNPRINTABLE.search(event.value)
            if deceiving:
                raise self._fault("compose.control_character", line, _shown(deceiving[0]), self._as_key(scalar))
            self._anchor(event.anchor, _Anchored(scalar, weight, 1))
            self._place(scalar, weight, 1, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._refuse_tag(event, line)
            self._count(_Weight(1), line)
            if len(self._stack) >= MAX_DEPTH:
                raise self._fault("compose.too_deep", line, f"nested deeper than {MAX_DEPTH}")
            self._stack.append(_Open(isinstance(event, yaml.MappingStartEvent), event.anchor, line, _Weight(1)))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()

    def _alias(self, name: str | None, line: int) -> None:
        found = self._anchors.get(name or "")
        if found is None:
            raise self._fault("compose.alias", line, f"alias *{name} leads to nothing, or into itself")
        self._count(found.weight, line)
        if len(self._stack) + found.height > MAX_DEPTH + 1:
            raise self._fault("compose.too_deep", line, f"nested deeper than {MAX_DEPTH}")
        self._place(found.node, found.weight, found.height, line)

    def _close(self) -> None:
        done = self._stack.pop()
        node = self._mapping(done) if done.mapping else Sequence(tuple(done.items), done.line)
        self._anchor(done.anchor, _Anchored(node, done.weight, done.height))
        self._place(node, done.weight, done.height, done.line)

    def _place(self, node: Node, weight: _Weight, height: int, line: int) -> None:
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        parent.items.append(node)
        parent.lines.append(line)
        parent.weight.add(weight)
        parent.height = max(parent.height, height + 1)

    def _anchor(self, name: str | None, anchored: _Anchored) -> None:
        if name is not None:
            self._anchors[name] = anchored

    def _count(self, weight: _Weight, line: int) -> None:
        self._total.add(weight)
        if self._total.nodes > MAX_NODES:
            raise self._fault("compose.too_many_nodes", line, f"more than {MAX_NODES} nodes, aliases written out")
        if self._total.characters > MAX_CHARACTERS:
            raise self._fault("compose.too_large", line, f"more than {MAX_CHARACTERS} characters, aliases written out")

    def _refuse_tag(self, event: Any, line: int) -> None:
        if event.tag is not None:
            raise self._fault("compose.tag", line, f"the tag {event.tag[:60]}; write plain values")

    def _mapping(self, done: _Open) -> Mapping:
        """Pair up keys and values; `<<` merges, and a key of the mapping itself wins over a merged one."""
        own: dict[str, Entry] = {}
        merged: list[Mapping] = []
        for key, value, line in zip(done.items[::2], done.items[1::2], done.lines[::2], strict=True):
            if not isinstance(key, Scalar) or (key.plain and _NOT_TEXT.fullmatch(key.text)):
                raise self._fault("compose.key", line, "a key that is not text", key)
            if len(key.text) > MAX_KEY or not key.text.isprintable():
                raise self._fault("compose.key", line, "a key that is too long, or not one line of plain text", key)
            if key.text == _MERGE and key.plain:
                merged += self._merge_sources(value, line)
            elif key.text in own:
                raise self._fault("compose.duplicate_key", line, f"the key {key.text!r} twice", key)
            else:
                own[key.text] = Entry(key.text, value, line)
        for source in merged:
            for entry in source.entries:
                own.setdefault(entry.key, entry)
        return Mapping(tuple(own.values()), done.line)

    def _merge_sources(self, value: Node, line: int) -> list[Mapping]:
        sources = list(value.items) if isinstance(value, Sequence) else [value]
        mappings = [source for source in sources if isinstance(source, Mapping)]
        if len(mappings) != len(sources):
            raise self._fault("compose.alias", line, "<< takes mappings")
        return mappings

    def _as_key(self, scalar: Scalar) -> Scalar | None:
        """The scalar, where a mapping waits for a key."""
        return scalar if self._stack and self._stack[-1].mapping and len(self._stack[-1].items) % 2 == 0 else None

    def _fault(self, code: str, line: int, message: str, key: Node | None = None) -> GateRefused:
        return _refused(code, message, line, self.path if key is None else _below(self.path, key))


def _below(path: str, key: Node) -> str:
    """The path of a key, which need not be a good one: what is shown of it is short and printable."""
    text = key.text if isinstance(key, Scalar) else "?"
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:60])
    return f"{path}.{shown}" if path else shown


def _refused(code: str, message: str, line: int = 1, path: str = "") -> GateRefused:
    return GateRefused((Violation(code, path, line, message),))
