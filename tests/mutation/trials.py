"""How mutants are tried: each in a process of its own, which is forked from one that has everything loaded.

A first process runs the tests of a group without a change, and notes which of them call which function. It forks for
each mutant; the child changes the one function in place, and runs the tests that call it, those first that noticed
something in the same function, then the quickest, until one fails. What that cannot try (a default, a constant of a
module), and whatever it did not notice, is tried again by all tests of the group, in a process that imports the
changed module anew.
"""

import gc
import importlib.abc
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

import pytest

from tests.mutation.changes import ROOT, Mutant
from tests.mutation.loaded import Elsewhere, swap

LEAST_S = 10.0
TIMES = 1.5
"""A mutant whose tests take so many seconds and so many times of what they took when they were noted, hangs."""
IDLE_S = 180.0
"""So does one whose process has not used the processor for so long."""
MEMORY = 4 << 30
"""Bytes of address space; a mutant that wants more is noticed."""
BROKEN = 97
"""Exit code: this way cannot try it."""


def load_libraries() -> None:
    """Once, before any fork. Nothing of ours: who changes a module imports that anew."""
    for name in (
        *("py_ecc", "pytest", "pytest_asyncio.plugin", "pytest_timeout", "_hypothesis_pytestplugin", "hypothesis"),
        *("hypothesis.stateful", "structlog.testing", "pydantic", "eth_account", "web3", "coincurve", "jsonschema"),
        *("httpx", "aleph_cid", "xdist.scheduler"),
    ):
        importlib.import_module(name)
    gc.freeze()  # no child looks through all of it again


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the code of one module in place of its file's."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._mutant.module:
            return None
        return importlib.util.spec_from_file_location(name, ROOT / self._mutant.path, loader=self)

    def exec_module(self, module: Any) -> None:
        exec(self._mutant.code(), module.__dict__)


class Recorder:
    """Of each test: the functions of `files` that it called, and the seconds of the processor that it took."""

    def __init__(self, files: Iterable[str]) -> None:
        self._files = {str(ROOT / file): file for file in files}
        self.callers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.took: dict[str, float] = {}
        self._test = ""
        self._began = 0.0

    def trace(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if file := self._files.get(code.co_filename):
            self.callers[file, code.co_qualname.replace("<locals>.", "")].add(self._test)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._test, self._began = nodeid, time.process_time()
        sys.settrace(self.trace)  # some test may have had its own
        threading.settrace(self.trace)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.took[nodeid] = time.process_time() - self._began


class Failure:
    """Notes the first test that fails."""

    def __init__(self) -> None:
        self.nodeid = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.nodeid:
            self.nodeid = report.nodeid


def run_tests(tests: Sequence[str], *plugins: object) -> int:
    """Exit code of pytest."""
    named = ("pytest_asyncio.plugin", "pytest_timeout", "_hypothesis_pytestplugin")
    without = ("cacheprovider", "unraisableexception", "threadexception", "faulthandler", "logging", "capture")
    words = [word for name in (*named, *(f"no:{name}" for name in without)) for word in ("-p", name)]
    plain = ["-x", "-q", "--timeout=0", "--assert=plain", "--tb=no", "--no-header", "-W", "ignore", *words]
    return int(pytest.main([*plain, *tests], plugins=list(plugins)))


# Processes.


@dataclass
class Trial:
    """One mutant in a process. `said` is what it wrote."""

    mutant: Mutant | None
    pid: int
    end: int
    said: str = ""
    used: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def idle(self) -> bool:
        """Whether it has not used the processor for a long while."""
        with open(f"/proc/{self.pid}/stat") as file:
            used = sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
        if used != self.used:
            self.used, self.since = used, time.monotonic()
        return time.monotonic() - self.since > IDLE_S


def silent() -> None:
    sink = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(sink, descriptor)


def forked(mutant: Mutant | None, seconds: float, work: Callable[[Failure], int]) -> Trial:
    """`work` in a child, which says what failed."""
    end, begin = os.pipe()
    child = os.fork()
    if child:
        os.close(begin)
        return Trial(mutant, child, end)
    code = 3
    try:
        os.close(end)
        silent()
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        failure = Failure()
        code = work(failure)
        os.write(begin, failure.nodeid[:4000].encode())
    finally:
        os._exit(code)


def ended(trials: Iterable[Callable[[], Trial]], jobs: int) -> Iterator[tuple[Trial, int]]:
    """Each trial with its wait status, `jobs` at a time. One that hangs is ended, and has noticed."""
    left, running = iter(trials), dict[int, Trial]()
    while True:
        while len(running) < jobs and (begin := next(left, None)):
            trial = begin()
            running[os.pidfd_open(trial.pid)] = trial
        if not running:
            return
        over = select.select(list(running), [], [], 1.0)[0]
        for watch, trial in list(running.items()):
            if watch not in over and not trial.idle():
                continue
            if watch not in over:
                os.kill(trial.pid, signal.SIGKILL)
            os.close(watch)
            del running[watch]
            status = os.waitpid(trial.pid, 0)[1]
            trial.said = os.read(trial.end, 4096).decode()
            os.close(trial.end)
            yield trial, status


def cold(
    tests: Sequence[str], tried: Iterable[Mutant | None], seconds: float, jobs: int
) -> Iterator[tuple[Mutant | None, bool]]:
    """By all tests, in processes that import everything of ours anew."""

    def work(mutant: Mutant | None, failure: Failure) -> int:
        if mutant is not None:
            sys.meta_path.insert(0, Changed(mutant))
        return run_tests(tests, failure)

    begun = (partial(forked, one, seconds, partial(work, one)) for one in tried)
    for trial, status in ended(begun, jobs):
        yield trial.mutant, status != 0


class Loaded:
    """Of one group, in a process that has run its tests."""

    def __init__(self, tests: Sequence[str], files: Iterable[str]) -> None:
        self._tests = tests
        self._record = Recorder(files)
        self._found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    def prepare(self) -> bool:
        """Whether the tests pass as they are, a second time too."""
        code = run_tests(self._tests, self._record)
        sys.settrace(None)
        threading.settrace(None)
        if code:
            return False
        gc.freeze()
        again = ended([lambda: self._begin(None)], 1)
        return [status for _, status in again] == [0]

    def judge(self, asked: Iterable[Mutant], jobs: int) -> Iterator[tuple[Mutant, bool | None]]:
        """None: it cannot be tried here."""
        for trial, status in ended((partial(self._begin, one) for one in asked), jobs):
            assert trial.mutant is not None
            if os.waitstatus_to_exitcode(status) == BROKEN:
                yield trial.mutant, None
            else:
                if trial.said:
                    self._found[trial.mutant.path, trial.mutant.inside].insert(0, trial.said)
                yield trial.mutant, status != 0

    @property
    def seconds(self) -> float:
        """Of the processor, for all tests."""
        return LEAST_S + TIMES * sum(self._record.took.values())

    def _begin(self, mutant: Mutant | None) -> Trial:
        tests = list(self._tests) if mutant is None else self._chosen(mutant)

        def work(failure: Failure) -> int:
            if mutant is None:
                return run_tests(tests, failure)
            try:
                swap(mutant)
            except Elsewhere:
                return BROKEN
            return run_tests(tests, failure) if tests else 0

        took = sum(self._record.took.get(test, 0.0) for test in tests)
        return forked(mutant, self.seconds if mutant is None else LEAST_S + TIMES * took, work)

    def _chosen(self, mutant: Mutant) -> list[str]:
        """Those that noticed something here first, then the quickest."""
        where = (mutant.path, mutant.inside)
        first = list(dict.fromkeys(self._found[where]))[:5]
        rest = sorted(self._record.callers[where], key=lambda test: self._record.took.get(test, 0.0))
        return list(dict.fromkeys([*first, *filter(None, rest)]))


def judged(
    tests: Sequence[str], files: Sequence[str], asked: Sequence[Mutant], jobs: int
) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant with whether the tests notice it, as they are found out.

    Raises RuntimeError where they fail anyway.
    """
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(end)
            silent()
            _tell(Loaded(tests, files), asked, jobs, begin)
        finally:
            os._exit(0)
    os.close(begin)
    left: list[Mutant] = []
    names = {one.name: one for one in asked}
    seconds = 0.0
    with os.fdopen(end) as lines:
        for line in lines:
            said = json.loads(line)
            seconds = said.get("seconds", seconds)
            if "name" in said and said["noticed"]:
                yield names[said["name"]], True
            elif "name" in said:
                left.append(names[said["name"]])
    os.waitpid(child, 0)
    if not seconds or [noticed for _, noticed in cold(tests, [None], seconds, 1)] != [False]:
        raise RuntimeError("the tests fail without any change")
    for mutant, noticed in cold(tests, left, seconds, jobs):
        assert mutant is not None
        yield mutant, noticed


def _tell(group: Loaded, asked: Sequence[Mutant], jobs: int, begin: int) -> None:
    if not group.prepare():
        return
    os.write(begin, json.dumps({"seconds": group.seconds}).encode() + b"\n")
    for mutant, noticed in group.judge(asked, jobs):
        os.write(begin, json.dumps({"name": mutant.name, "noticed": bool(noticed)}).encode() + b"\n")
