"""All checks, found by looking into the folder: a new check is a new file and nothing else."""

import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module

from ogpu_provider.doctor import checks
from ogpu_provider.doctor.check import Check
from ogpu_provider.doctor.finding import Topic
from ogpu_provider.domain.errors import ConfigError


@cache
def every() -> tuple[Check, ...]:
    """By topic, and within one by what a check needs, then by id."""
    found = [_check(module.name) for module in pkgutil.iter_modules(checks.__path__)]
    known = {check.id: check for check in found}

    def depth(check: Check) -> int:
        return 1 + max((depth(known[need]) for need in check.needs), default=0)

    order = list(Topic)
    return tuple(sorted(found, key=lambda check: (order.index(check.topic), depth(check), check.id)))


def selected(only: Sequence[str]) -> tuple[Check, ...]:
    """Those with an id or a topic in `only`; all if it is empty. Raises ConfigError (`usage.check`)."""
    if not only:
        return every()
    names = {check.id for check in every()} | {topic.value for topic in Topic}
    for name in only:
        if name not in names:
            topics = ", ".join(Topic)
            raise ConfigError(
                f"there is no check or topic {name}",
                code="usage.check",
                remedy=f"topics: {topics}; `ogpu-provider doctor` shows every id",
            )
    return tuple(check for check in every() if check.id in only or check.topic.value in only)


def _check(name: str) -> Check:
    check = import_module(f"{checks.__name__}.{name}").CHECK
    assert isinstance(check, Check)
    assert check.id == name, f"{name}.py holds the check {check.id}"
    return check
