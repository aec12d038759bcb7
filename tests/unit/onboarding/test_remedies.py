"""Whatever stops an operator says what to do about it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import ogpu_provider

ROOT = Path(ogpu_provider.__file__).parent
FILES = [
    *(ROOT / "onboarding").glob("*.py"),
    *(ROOT / "cli").glob("*.py"),
    *(ROOT / name for name in ("config.py", "configfile.py", "assembly.py", "keys/keystore.py", "keys/claim.py")),
]


def refusals(file: Path) -> Iterator[ast.Call]:
    """Errors that are made here, with what an operator is told."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        told = {"code", "remedy"} & {word.arg for word in node.keywords}
        if told and node.func.id.endswith(("Error", "Refused")):
            yield node


def test_every_refusal_has_a_remedy() -> None:
    found = [(file, node) for file in FILES for node in refusals(file)]
    assert len(found) > 50
    shown_as_a_problem = {"onboarding/offer.py"}  # of a source, in the list of them
    without = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, node in found
        if "remedy" not in {word.arg for word in node.keywords}
        and str(file.relative_to(ROOT)) not in shown_as_a_problem
    ]
    assert not without, chr(10).join(without)
