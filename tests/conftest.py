"""Tests that need a part of the outside: `docker` a container engine, `devnet` a chain node, `browser` Chromium.

Without that part they are skipped with its reason; where CI=true they fail instead, so that nothing is skipped
unseen.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache

import py_ecc  # noqa: F401  raises the recursion limit when it is imported, so it is imported here, first
import pytest
from hypothesis import HealthCheck, settings

from ogpu_provider.domain.killpoints import POINTS
from tests.canary import known_keys_below
from tests.lanes import Lanes, turn
from tests.leftovers import nothing_is_left
from tests.sizes import FEW, SOAK, SOAK_LIMIT_S

__all__ = ["nothing_is_left"]  # a fixture is found by its name here

sys.setrecursionlimit(1000)  # the daemon's own, which keeps deep data from ending the process
settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=(HealthCheck.too_slow,)
)  # a slow machine is no fault
settings.load_profile("patient")
if FEW:  # the same few examples for every mutant
    settings.register_profile("few", derandomize=True, max_examples=10, database=None, deadline=None)
    settings.load_profile("few")


@cache
def engine_problem() -> str:
    """Why no container engine can be used, empty if one answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=60)
        try:
            client.ping()
        finally:
            client.close()
    except DockerException as error:
        return f"no container engine answers: {error}"
    return ""


@cache
def node_problem() -> str:
    """Why no chain node can be started, empty if anvil is there (fetched if need be)."""
    from ogpu_provider.devnet import tools
    from ogpu_provider.domain.errors import DevnetError

    try:
        asyncio.run(tools.ensure_anvil())
    except DevnetError as error:
        return f"no anvil: {error}"
    return ""


@cache
def browser_problem() -> str:
    """Why no browser can be driven, empty if Chromium and its driver are there."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


PARTS: dict[str, Callable[[], str]] = {"docker": engine_problem, "devnet": node_problem, "browser": browser_problem}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: turn(item.nodeid))
    if SOAK:
        for item in items:
            item.add_marker(pytest.mark.timeout(SOAK_LIMIT_S), append=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    return Lanes(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the crash matrix did, here because the process that reports may be another one than those that test."""
    passed = [report for report in terminalreporter.getreports("passed") if report.nodeid.startswith("tests/crash/")]
    if passed:
        terminalreporter.write_line(f"kill points: {len(POINTS)}")
    if resumed := [
        float(str(value)) for report in passed for name, value in report.user_properties if name == "resumed_s"
    ]:
        terminalreporter.write_line(f"resumed after {max(resumed):.1f} s at most, {len(resumed)} times")


@pytest.fixture(scope="session", autouse=True)
def no_key_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After the last test: no key of a keystore is in any log, database, rendered file or output of the whole run."""
    yield
    leaks = known_keys_below(tmp_path_factory.getbasetemp())
    assert leaks == {}, f"keys are left in {leaks}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, problem in PARTS.items():
        if item.get_closest_marker(marker) and (reason := problem()):
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
