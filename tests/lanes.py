"""How tests are shared out among processes: file by file, the slowest folders first, and one folder at a time where
all its files use one network.

The slow ones mostly wait, for blocks, containers and kills, so that several at once take little longer than one.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/e2e/", "tests/integration/onboarding/")
SLOWEST = (
    "tests/unit/test_mutants.py",  # four minutes, and most of them waiting
    "tests/integration/onboarding/",
    "tests/crash/",
    "tests/e2e/",
    "tests/faults/",
    "tests/integration/",
)


def lane(nodeid: str) -> str:
    """What is done by one process, in order."""
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.split("::", 1)[0])


def turn(nodeid: str) -> int:
    return next((number for number, folder in enumerate(SLOWEST) if nodeid.startswith(folder)), len(SLOWEST))


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Takes the lanes in the order of collection, which tests/conftest.py has put the slowest first."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)
