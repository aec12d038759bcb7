"""`${NAME}` in values, from a closed list of names. The environment of this process has no part in it.

The grammar is that of the Compose Specification ("Interpolation"): $$, $NAME, ${NAME}, and ${NAME} with
:- - :? ? :+ + and a text that may itself hold variables. A name outside the list counts as unset: with a default
it becomes its default, without one the file is refused.
"""

import re
from collections.abc import Mapping as Map
from dataclasses import dataclass

from ogpu_provider.runtime.compose.document import Entry, Mapping, Node, Scalar, Sequence
from ogpu_provider.runtime.compose.violation import Violation

MAX_TEXT = 64 * 1024
_MAX_NESTING = 8
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(
    r"PRIV(?:ATE)?_?KEY|(?:SIGNER|PROVIDER|WALLET)_?(?:SECRET_?)?KEY|MNEMONIC|SEED_?PHRASE|PASSPHRASE|KEYSTORE"
    r"|KEY_?PASSWORD|OGPU_WALLET|CREDENTIALS_DIRECTORY",
    re.IGNORECASE,
)
_MENTIONED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_MARKS = re.compile(r"\$\$|\$\{|\}")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")


@dataclass(frozen=True, slots=True)
class Variables:
    """Everything that an author's file can learn from us. `port` is the host port for container port 5555."""

    port: int
    callback_url: str
    source: str
    provider: str

    def known(self) -> Map[str, str]:
        return {
            "PORT": str(self.port),
            "CALLBACK_URL": self.callback_url,
            "CALLBACK_ADDRESS": self.callback_url,
            "SOURCE_ADDRESS": self.source,
            "PROVIDER_ADDRESS": self.provider,
            "PROTOCOL_VERSION": "",
        }


class _Fault(Exception):
    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.code, self.remedy = code, remedy


def asks_for_secret(name: str) -> bool:
    """Whether a variable's name asks for the operator's key. Never passed through, not even with a default."""
    return bool(_SECRET.search(name))


def interpolate(root: Mapping, known: Map[str, str]) -> tuple[Mapping, tuple[Violation, ...]]:
    """The same tree with variables replaced in its values; keys stay as they are, like in compose."""
    faults: list[Violation] = []

    def walk(node: Node, path: str) -> Node:
        if isinstance(node, Scalar):
            try:
                return Scalar(substitute(node.text, known), node.plain, node.line)
            except _Fault as fault:
                faults.append(Violation(fault.code, path, node.line, str(fault), fault.remedy))
                return node
        if isinstance(node, Sequence):
            return Sequence(tuple(walk(item, f"{path}[{i}]") for i, item in enumerate(node.items)), node.line)
        entries = (Entry(e.key, walk(e.value, f"{path}.{e.key}" if path else e.key), e.line) for e in node.entries)
        return Mapping(tuple(entries), node.line)

    result = walk(root, "")
    assert isinstance(result, Mapping)
    return result, tuple(faults)


def substitute(text: str, known: Map[str, str], nesting: int = 0) -> str:
    if len(text) > MAX_TEXT:
        raise _Fault("compose.value_too_long", f"a value longer than {MAX_TEXT} characters")
    if nesting == 0:
        _refuse_secrets(text)
    if nesting > _MAX_NESTING:
        raise _Fault("compose.variable", "defaults nested too deep")
    out: list[str] = []
    at = size = 0
    while at < len(text):
        dollar = text.find("$", at)
        if dollar < 0:
            out.append(text[at:])
            break
        value, after = _variable(text, dollar, known, nesting)
        out += (text[at:dollar], value)
        size += len(value)
        if size > MAX_TEXT:
            raise _Fault("compose.value_too_long", f"a value longer than {MAX_TEXT} characters")
        at = after
    return "".join(out)


def _refuse_secrets(text: str) -> None:
    """Also in a branch that is not taken: a file that asks for the key is refused, not read kindly."""
    for name in _MENTIONED.findall(text.replace("$$", "")):
        if asks_for_secret(name):
            raise _Fault("compose.secret", f"asks for {name[:80]}; a source never gets the operator's key")


def _variable(text: str, dollar: int, known: Map[str, str], nesting: int) -> tuple[str, int]:
    """Value of the variable at `dollar`, and where the text goes on."""
    if text.startswith("$$", dollar):
        return "$", dollar + 2
    braced = text.startswith("${", dollar)
    name = _NAME.match(text, dollar + (2 if braced else 1))
    if name is None:
        raise _Fault("compose.variable", "a $ that starts no variable", "write $$ for a dollar sign")
    if not braced:
        return _value(name[0], known), name.end()
    end = _closing(text, name.end())
    rest = text[name.end() : end]
    if not rest:
        return _value(name[0], known), end + 1
    operator = next((op for op in _OPERATORS if rest.startswith(op)), None)
    if operator is None:
        raise _Fault("compose.variable", f"what follows {name[0]} is no operator")
    return _operate(name[0], operator, rest[len(operator) :], known, nesting), end + 1


def _operate(name: str, operator: str, word: str, known: Map[str, str], nesting: int) -> str:
    value = known.get(name)
    present = bool(value) if operator.startswith(":") else value is not None
    match operator[-1]:
        case "-":
            return value or "" if present else substitute(word, known, nesting + 1)
        case "+":
            return substitute(word, known, nesting + 1) if present else ""
    return value or "" if present else _value(name, {})


def _value(name: str, known: Map[str, str]) -> str:
    if name in known:
        return known[name]
    raise _Fault(
        "compose.variable",
        f"asks for {name}, which is not given to sources",
        f"write its value, or a default: ${{{name}:-value}}",
    )


def _closing(text: str, start: int) -> int:
    depth = 1
    for mark in _MARKS.finditer(text, start):
        if mark[0] == "${":
            depth += 1
        elif mark[0] == "}":
            depth -= 1
            if depth == 0:
                return mark.start()
    raise _Fault("compose.variable", "a ${ that is not closed")
