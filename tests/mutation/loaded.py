"""Changes what is loaded already: one function gets other code, where that is all that differs."""

import inspect
import sys
from collections.abc import Iterator
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

from tests.mutation.changes import ROOT, Mutant, parsed


class Elsewhere(Exception):
    """Something else differs than the code of functions that can be found: a default, a constant, a class."""


def swap(mutant: Mutant) -> None:
    """From now on the function does what the mutant's does. Raises Elsewhere, and has changed nothing."""
    module = sys.modules.get(mutant.module)
    if module is None:
        raise Elsewhere
    before = compile(parsed(mutant.path), str(ROOT / mutant.path), "exec")
    for old, new in list(_pairs(before, mutant.code())):
        function = _found(module, old)
        if len(function.__code__.co_freevars) != len(new.co_freevars):
            raise Elsewhere
        function.__code__ = new


def _pairs(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Functions that differ, of a module or the body of a class, each with its changed one."""
    if before.co_code != after.co_code or len(before.co_consts) != len(after.co_consts):
        raise Elsewhere
    for old, new in zip(before.co_consts, after.co_consts, strict=True):
        if not isinstance(old, CodeType) or not isinstance(new, CodeType):
            if repr(old) != repr(new):
                raise Elsewhere
        elif not old.co_flags & inspect.CO_OPTIMIZED:
            yield from _pairs(old, new)
        elif old != new:
            yield old, new


def _found(module: Any, code: CodeType) -> FunctionType:
    there: Any = module
    for part in code.co_qualname.split("."):
        there = vars(there).get(part)
        if isinstance(there, staticmethod | classmethod):
            there = there.__func__
        elif isinstance(there, property):
            there = there.fget
        elif isinstance(there, cached_property):
            there = there.func
        there = inspect.unwrap(there) if callable(there) else there
        if there is None:
            raise Elsewhere
    if not isinstance(there, FunctionType) or there.__code__.co_firstlineno != code.co_firstlineno:
        raise Elsewhere
    return there
