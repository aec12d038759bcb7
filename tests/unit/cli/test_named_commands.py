"""What is printed must exist: every command that the documents and our own sentences name, with the flags beside it."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import cyclopts
import pytest

import ogpu_provider
from ogpu_provider.cli.main import app

PACKAGE = Path(ogpu_provider.__file__).parent
ROOT = PACKAGE.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "compose").rglob("*.yml"))]
SPAN = re.compile(r"`([^`]+)`")
NAME = re.compile(r"(?:^|[\s/(])ogpu-provider ((?:\\\n|[^#|;()\n])*)")
WORD = re.compile(r"--[a-z][a-z-]*|[a-z][a-z-]*")


def code_of(document: str) -> Iterator[str]:
    """Blocks and spans of code of a text in Markdown; comments of a YAML file are lines."""
    inside = False
    block: list[str] = []
    for line in document.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside or line.startswith("    ") or line.lstrip().startswith("#  "):
            block.append(line)
        else:
            yield from SPAN.findall(line)
    yield "\n".join(block)


def sentences(file: Path) -> Iterator[str]:
    """The strings of a module, without what is put in."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from SPAN.findall(node.value)


def named(text: str) -> Iterator[tuple[str, ...]]:
    """The words of each command line in a piece of code, the program's name left out."""
    for found in NAME.findall(text):
        try:
            words = shlex.split(found.replace("\\\n", " "))
        except ValueError:  # cut off by what is put in
            words = found.split()
        yield tuple(words)


def everything() -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    for file in DOCUMENTS:
        for text in code_of(file.read_text()):
            found |= dict.fromkeys(named(text), file.name)
    for file in PACKAGE.rglob("*.py"):
        for text in sentences(file):
            found |= dict.fromkeys(named(text), str(file.relative_to(ROOT)))
    return found


def flags_of(command: cyclopts.App) -> set[str]:
    default = command.default_command
    names = set(command.help_flags) | set(command.version_flags)
    if default is not None:
        for argument in command.assemble_argument_collection():
            names |= {name for name in argument.names if name.startswith("--")}
    return names


def wrong_with(words: tuple[str, ...]) -> str:
    """Empty if there is such a command and it has such flags. Words in capitals and values stand for anything."""
    command, rest = app, list(words)
    while rest and WORD.fullmatch(rest[0]) and not rest[0].startswith("--"):
        if rest[0] not in command:
            if command is app or (command.default_command is None):
                return f"no command {rest[0]}"
            break
        command = command[rest.pop(0)]
    if command is app and not any(word in flags_of(app) for word in rest):
        return "" if not rest or not WORD.fullmatch(rest[0]) else f"no flag {rest[0]}"
    unknown = [word for word in rest if re.fullmatch(r"--[a-z-]+", word) and word not in flags_of(command)]
    return f"no flag {unknown[0]}" if unknown else ""


NAMED = everything()


@pytest.mark.parametrize("words", NAMED, ids=lambda words: " ".join(words)[:60] or "alone")
def test_a_named_command_exists(words: tuple[str, ...]) -> None:
    assert not wrong_with(words), f"{NAMED[words]}: {' '.join(words)}"


def test_nothing_is_installed_by_a_name_that_anybody_may_take() -> None:
    lines = [line for file in DOCUMENTS for text in code_of(file.read_text()) for line in text.splitlines()]
    installs = [line.partition("#")[0].split() for line in lines if re.search(r"\bpip install\b", line)]
    assert installs
    assert all(words[-1] == "." or "/" in words[-1] or words[-1] == "install" for words in installs), installs


def test_many_were_found_and_a_wrong_one_is_noticed() -> None:
    assert len(NAMED) > 70
    assert wrong_with(("register", "--yess"))
    assert wrong_with(("vaults",))
    assert wrong_with(("sources", "drop", "--now"))
    assert not wrong_with(("why", "TASK", "--json"))
