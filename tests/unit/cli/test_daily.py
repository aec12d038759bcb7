"""Day-to-day commands against a real control socket with a path in memory behind it, and without a daemon."""

import asyncio
import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ogpu_provider.control.wire import SOCKET_NAME
from ogpu_provider.domain.intent import Effect, Intent, IntentState
from ogpu_provider.domain.source import Environment, ServedSource, SourceState
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.wish import Want, Wish
from ogpu_provider.store.sqlite import SqliteStore
from tests.unit.cli.conftest import PROVIDER, SOURCE, Shell
from tests.unit.control.desk import WELL, Counter, Office
from tests.unit.pipeline.stage import serving

Write = Callable[[], None]


async def at_work(office: Office) -> None:
    """One source is served, one task is in its container, blocks come in."""
    source = office.daemon.outside.source(answers=False)
    office.daemon.keeper.want(source)
    await serving(office.daemon, source)
    await office.daemon.publish(source)
    office.desk.heard()


async def idle(office: Office) -> None:
    source = office.daemon.outside.source()
    office.daemon.keeper.want(source)
    await serving(office.daemon, source)
    await office.daemon.block()


@pytest.fixture
def daemon(shell: Shell, journal: Write) -> Iterator[Counter]:
    journal()
    with Counter(shell.folder / "data", at_work) as counter:
        yield counter


def test_status_of_a_working_daemon_is_earning(shell: Shell, daemon: Counter) -> None:
    answer = shell("status", "--json")
    found = json.loads(answer.out)
    assert (answer.code, found["earning"], found["good"], found["running"]) == (0, True, True, True)
    assert found["pid"] == os.getpid()
    assert found["diagnosis"]["state"] == "earning"
    assert (found["provider"], found["chain_id"], found["network"]) == (PROVIDER, 1071, "devnet")
    assert [task["state"] for task in found["live"]] == ["executing"]
    text = shell("status").out
    assert text.startswith("earning: 1 on the way\n")
    assert "1 of 2 task slots taken, 0 of 1 GPUs held" in text


def test_status_shows_each_endpoint_and_is_1_when_none_answers(shell: Shell, journal: Write) -> None:
    journal()

    async def cut_off(office: Office) -> None:
        await at_work(office)
        office.endpoints[:] = [
            replace(WELL, healthy=False, errors=4, reason="HTTP 503", rests_s=12.0, socket_open=False),
            replace(WELL, name="b:1", healthy=False, reason="no websocket: Connection refused", socket_open=False),
        ]

    with Counter(shell.folder / "data", at_work):
        answer = shell("status")
        assert answer.code == 0
        assert f"{WELL.name}: block 9, answers in 2 ms, websocket open" in answer.out
    with Counter(shell.folder / "data", cut_off):
        answer = shell("status")
        assert (answer.code, answer.out.splitlines()[0][:36]) == (1, "not earning: the RPC endpoint does n")
        assert f"{WELL.name}: does not answer (4 errors in a row): HTTP 503; asked again in 12 s" in answer.out
        assert "b:1: does not answer: no websocket: Connection refused" in answer.out
        found = json.loads(shell("status", "--json").out)
        assert found["diagnosis"]["problems"][0]["code"] == "rpc.down"
        assert [one["healthy"] for one in found["rpc"]["endpoints"]] == [False, False]


def test_status_of_a_paused_daemon_is_1_and_says_what_to_do(shell: Shell, daemon: Counter) -> None:
    assert shell("pause").code == 0
    answer = shell("status")
    assert answer.code == 1
    assert answer.out.startswith("not earning: it is paused")
    assert "remedy: `ogpu-provider resume`" in answer.out
    found = json.loads(shell("resume", "--json").out)
    assert found == {"paused_since": None, "draining": None}
    assert shell("status").code == 0


def test_status_without_a_daemon_comes_from_the_journal(shell: Shell, journal: Write) -> None:
    journal()
    answer = shell("status", "--json")
    found = json.loads(answer.out)
    assert (answer.code, found["earning"], found["running"]) == (1, False, False)
    assert [problem["code"] for problem in found["diagnosis"]["problems"]] == ["daemon.not_running"]
    assert (found["tasks"]["declined"], len(found["live"]), found["block"]) == (1, 1, 10)
    text = shell("status").out
    assert text.startswith("not earning: the daemon does not run\n")
    assert "compose.refused: privileged is refused" in text


def test_status_without_a_journal_or_an_answer_is_3(shell: Shell, journal: Write) -> None:
    assert shell("status").code == 3
    journal()
    with (shell.folder / "data" / "provider.db.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = shell("status")
    assert (answer.code, f"process {os.getpid()}" in answer.err) == (3, True)
    mute = socket.socket(socket.AF_UNIX)
    mute.bind(str(shell.folder / "data" / SOCKET_NAME))
    mute.close()  # refuses: what a crash left behind is no daemon
    assert shell("status").code == 1


@pytest.mark.parametrize("words", [["pause"], ["resume"], ["drain"], ["metrics"], ["top"], ["sources", "add", SOURCE]])
def test_an_order_to_nobody_is_3(shell: Shell, journal: Write, words: list[str]) -> None:
    journal()
    answer = shell(*words)
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith("error [control.no_daemon]: ")
    assert "\nremedy: " in answer.err


def test_drain_says_what_it_waits_for_without_waiting(shell: Shell, daemon: Counter) -> None:
    answer = shell("drain", "--no-wait")
    assert (answer.code, answer.out) == (0, "draining: 1 tasks to finish, 1 transactions not in a block yet\n")
    assert json.loads(shell("drain", "--no-wait", "--json").out)["draining"]["tasks"] == 1
    assert shell("status").out.startswith("not earning: it is draining")


def test_drain_waits_until_the_daemon_has_ended(shell: Shell, journal: Write) -> None:
    journal()
    with Counter(shell.folder / "data", idle):
        answer = shell("drain", "--json")
    assert (answer.code, json.loads(answer.out)) == (0, {"drained": True})


def test_drain_of_a_daemon_that_dies_is_not_drained(shell: Shell, journal: Write) -> None:
    journal()
    asyncio.run(_wish(shell.folder, Wish("drain", Want.DRAIN, 1.0)))
    with Counter(shell.folder / "data", idle):  # ends, but the order stays in the file: as after a crash
        answer = shell("drain")
    assert answer.code == 1
    assert "ended before it was drained" in answer.out


def test_sources_are_added_and_removed(shell: Shell, daemon: Counter) -> None:
    (source,) = [row["address"] for row in json.loads(shell("status", "--json").out)["sources"]]
    answer = shell("sources", "remove", source.lower(), "--unregister", "--json")
    assert (answer.code, json.loads(answer.out)["code"]) == (0, "source.leaving")
    answer = shell("sources", "add", source)
    assert (answer.code, f"{source} will be served" in answer.out) == (0, True)
    assert shell("sources", "retry", source).code == 0
    assert shell("sources", "retry", PROVIDER).code == 1
    assert shell("sources", "add", "0x12").code == 2
    assert shell("sources", "add").code == 2


def test_metrics_are_printed_as_they_are(shell: Shell, daemon: Counter) -> None:
    answer = shell("metrics")
    assert answer.code == 0
    assert "\nogpu_tasks_live 1.0\n" in answer.out


def test_top_once_shows_devices_sources_tasks_and_wallet(shell: Shell, daemon: Counter) -> None:
    answer = shell("top", "--once")
    assert answer.code == 0
    for text in (
        "earning: 1 on the way",
        "GPU-1",
        "1.0 of 24.0 GiB",
        "free",
        "double",
        "executing",
        "wallet 1",
        "ready",
    ):
        assert text in answer.out, text
    assert "\x1b" not in answer.out, "no terminal: no colours, and none from a device's name"
    assert shell("top").code == 0, "without a terminal it looks once"
    assert shell("top", "--interval", "0").code == 2


DAY = 86_400.0


@pytest.fixture
def earned(shell: Shell) -> float:
    """A journal with payments and gas on two days; the time of the first."""
    noon = time.time() // DAY * DAY - 3 * DAY + DAY / 2
    asyncio.run(_earn(shell.folder / "data" / "provider.db", noon))
    return noon


async def _earn(path: Path, noon: float) -> None:
    store = await SqliteStore.open(path, chain_id=1071, provider=PROVIDER)
    await store.save_source(ServedSource(SOURCE, SourceState.READY, environment=Environment.NVIDIA))
    for number, (day, payment, environment) in enumerate(
        [(0, 10**16, Environment.NVIDIA), (1, 2 * 10**16, Environment.NVIDIA), (1, 1, Environment.CPU)]
    ):
        address = Address(f"0x{number + 100:040x}")
        source = SOURCE if environment is Environment.NVIDIA else PROVIDER
        task = Task(address, source, TaskState.SUBMITTED, 1, noon, payment=payment, environment=environment)
        await store.insert([task])
        await store.save(task, Transition(TaskState.SETTLED), at=noon + day * DAY, boot="b")
        await store.plan(Intent(f"a{number}", Effect.ATTEMPT, address, SOURCE, b""), at=noon)
        await store.set_state(f"a{number}", IntentState.CONFIRMED, at=noon + day * DAY, fee_paid=10**14)
    await store.plan(Intent("r", Effect.REGISTER, SOURCE, SOURCE, b""), at=noon)
    await store.set_state("r", IntentState.REVERTED, at=noon, fee_paid=5 * 10**16)
    await store.close()


async def _wish(folder: Path, wish: Wish) -> None:
    store = await SqliteStore.open(folder / "data" / "provider.db", chain_id=1071, provider=PROVIDER)
    await store.wish(wish)
    await store.close()


def test_earnings_by_day_are_exact_and_can_be_negative(shell: Shell, earned: float) -> None:
    found = json.loads(shell("earnings", "--json").out)
    first, second = found["rows"]
    assert first["day"] == time.strftime("%Y-%m-%d", time.gmtime(earned))
    assert (first["tasks"], first["paid_wei"], first["gas_wei"]) == (1, 10**16, 5 * 10**16 + 10**14)
    assert (first["net_wei"], first["net"]) == (-40_100_000_000_000_000, "-0.0401")
    assert (second["tasks"], second["paid"], second["transactions"]) == (2, "0.020000000000000001", 2)
    assert found["total"]["net_wei"] == first["net_wei"] + second["net_wei"]
    text = shell("earnings").out.splitlines()
    assert text[0].split() == ["DAY", "TASKS", "PAID", "PAID", "TRANSACTIONS", "GAS", "NET"]
    assert text[-1].startswith("total ")


def test_earnings_by_source_and_environment(shell: Shell, earned: float) -> None:
    by_source = {row["source"]: row for row in json.loads(shell("earnings", "--by", "source", "--json").out)["rows"]}
    assert (by_source[SOURCE]["tasks"], by_source[SOURCE]["transactions"]) == (2, 3)
    assert by_source[PROVIDER]["paid_wei"] == 1
    rows = json.loads(shell("earnings", "--by", "environment", "--json").out)["rows"]
    assert [(row["environment"], row["tasks"]) for row in rows] == [("cpu", 1), ("nvidia", 2)]


def test_earnings_since(shell: Shell, earned: float) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime(earned + DAY))
    hours = int((time.time() - earned - DAY) // 3600) + 1
    for since in (day, f"{hours}h"):
        assert json.loads(shell("earnings", "--since", since, "--json").out)["total"]["tasks"] == 2, since
    assert json.loads(shell("earnings", "--since", "1h", "--json").out)["rows"] == []
    for since in ("", "yesterday", "3x", "-1d", "2026-13-01"):
        answer = shell("earnings", f"--since={since}")
        assert (answer.code, "[usage" in answer.err) == (2, True), since


def test_earnings_as_csv(shell: Shell, earned: float) -> None:
    rows = list(csv.DictReader(io.StringIO(shell("earnings", "--csv").out)))
    assert [int(row["paid_wei"]) for row in rows] == [10**16, 2 * 10**16 + 1]
    assert sum(int(row["net_wei"]) for row in rows) == 3 * 10**16 + 1 - 5 * 10**16 - 3 * 10**14
    assert shell("earnings", "--csv", "--json").code == 2


def test_top_lives_on_a_terminal_until_it_is_stopped(shell: Shell, daemon: Counter) -> None:
    main, side = pty.openpty()
    argv = [sys.executable, "-m", "ogpu_provider.cli.main", "top", "--interval", "0.1", "--config", str(shell.config)]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(argv, stdin=side, stdout=side, stderr=side, env=environ, start_new_session=True) as process:
        os.close(side)
        shown, end = b"", time.monotonic() + 120
        while shown.count(b"earning: 1 on the way") < 3 and time.monotonic() < end:  # drawn again and again
            shown += os.read(main, 65536)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:  # a terminal that nobody reads would hold it up
            with contextlib.suppress(OSError):
                shown += os.read(main, 65536)
    os.close(main)
    assert process.returncode == 0
    assert b"\x1b[?1049h" in shown, "on a screen of its own"
    assert shown.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?1049l" in shown, "which is left in order"
