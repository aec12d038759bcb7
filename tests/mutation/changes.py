"""What is changed: one comparison, operator, number, boolean, condition or statement of a module at a time."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COUNTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult}
Change = Callable[[Any], object]


@dataclass(frozen=True)
class Mutant:
    """`name` has no line number, so that it outlives changes elsewhere in the file. `inside`: the function or class.
    `place`: which node of the tree, and which of its changes."""

    path: str
    line: int
    inside: str
    name: str
    place: tuple[int, int]

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").replace("/", ".")

    def code(self) -> CodeType:
        """The whole module, changed."""
        tree = parsed(self.path)
        node = [one for one, _ in walk(tree)][self.place[0]]
        [*changes(node)][self.place[1]][1](node)
        return compile(ast.fix_missing_locations(tree), str(ROOT / self.path), "exec")


def parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def mutants(path: str) -> Iterator[Mutant]:
    tree = parsed(path)
    decorators = [one for node in ast.walk(tree) for one in getattr(node, "decorator_list", ())]
    skipped = {id(inside) for decorator in decorators for inside in ast.walk(decorator)}  # frozen is no behaviour
    names: dict[str, int] = {}
    for place, (node, inside) in enumerate(walk(tree)):
        if id(node) in skipped:
            continue
        for which, (text, _) in enumerate(changes(node)):
            line = " ".join(ast.unparse(node).split())[:60]
            name = f"{path} {inside}: {line}: {text}"
            names[name] = names.get(name, 0) + 1
            if names[name] > 1:
                name += f" #{names[name]}"
            yield Mutant(path, node.lineno, inside, name, (place, which))


def walk(tree: Any, inside: str = "") -> Iterator[tuple[Any, str]]:
    """Every node with the name of its function or class."""
    yield tree, inside
    name = f"{inside}.{tree.name}".lstrip(".") if hasattr(tree, "name") and hasattr(tree, "body") else inside
    for child in ast.iter_child_nodes(tree):
        yield from walk(child, name)


def changes(node: Any) -> Iterator[tuple[str, Change]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        compared = COMPARED[type(node.ops[0])]
        yield compared.__name__, lambda n: n.ops.__setitem__(0, compared())
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in COUNTED:
        counted = COUNTED[type(node.op)]
        yield counted.__name__, lambda n: setattr(n, "op", counted())
    elif isinstance(node, ast.BoolOp):
        joined = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield joined.__name__, lambda n: setattr(n, "op", joined())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not dropped", lambda n: setattr(n, "op", ast.UAdd())  # +True is 1, +False is 0
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield "other", lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "+ 1", lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Await)) and not is_log(node.value):
        yield "left out", lambda n: setattr(n, "value", ast.Constant(None))


def is_log(node: Any) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log"
