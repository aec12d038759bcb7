"""`ogpu-provider devices` against a daemon's socket, and without a daemon."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.store.sqlite import SqliteStore
from tests.unit.cli.conftest import DECLINED, LIVE, PROVIDER, Shell
from tests.unit.control.desk import Counter, Office

Write = Callable[[], None]


@pytest.fixture
def daemon(shell: Shell, journal: Write) -> Iterator[Counter]:
    journal()
    with Counter(shell.folder / "data") as counter:
        yield counter


def test_devices_with_their_instruments(shell: Shell, daemon: Counter) -> None:
    answer = shell("devices")
    assert answer.code == 0
    assert "GPU-1" in answer.out
    for shown in ("1.0 of 24.0 GiB", "97 %", "71 °C", "312 W", "8 of 16", "free", "good"):
        assert shown in answer.out
    assert "\x1b" not in answer.out
    (device,) = json.loads(shell("devices", "list", "--json").out)["devices"]
    assert device["processes"] == [{"pid": 4242, "memory": 1 << 30, "graphics": False}]


def test_a_card_that_the_operator_cordons_and_gives_back(shell: Shell, daemon: Counter) -> None:
    answer = shell("devices", "cordon", "GPU-1", "--reason", "its fan is noisy")
    assert (answer.code, answer.out) == (0, "GPU-1 takes no new work (gpu.operator: its fan is noisy)\n")
    listed = shell("devices").out
    assert "gpu.cordoned: cordoned for gpu.operator: its fan is noisy" in listed
    assert "is cordoned since" in listed
    assert "waits for `devices uncordon`" in listed
    status = json.loads(shell("status", "--json").out)
    assert [cordon["card"] for cordon in status["cordons"]] == ["GPU-1"]
    assert "device.cordoned" in [note["code"] for note in status["diagnosis"]["notes"]]
    assert "1 taking no new work" in shell("status").out
    assert "its fan is noisy" in shell("top", "--once").out
    answer = shell("devices", "uncordon", "GPU-1")
    assert (answer.code, answer.out) == (0, "GPU-1 takes work again\n")
    assert json.loads(shell("devices", "--json").out)["cordons"] == []


@pytest.mark.parametrize(
    ("verb", "card", "code"), [("cordon", "GPU-9", "device.unknown"), ("uncordon", "GPU-1", "device.not_cordoned")]
)
def test_cards_that_there_is_nothing_to_do_about(
    shell: Shell, daemon: Counter, verb: str, card: str, code: str
) -> None:
    answer = shell("devices", verb, card)
    assert answer.code == 1
    assert code in answer.err


def test_without_a_daemon_the_journal_tells_what_is_cordoned(shell: Shell, journal: Write) -> None:
    journal()

    async def write() -> None:
        store = await SqliteStore.open(shell.folder / "data" / "provider.db", chain_id=1071, provider=PROVIDER)
        await store.cordon(Cordon("GPU-1", "RTX 4090", Reason("gpu.xid", "Xid 79"), 1_700_000_000.0))
        await store.close()

    asyncio.run(write())
    answer = shell("devices")
    assert answer.code == 0
    assert "the daemon does not run" in answer.out
    assert "GPU-1 (RTX 4090) is cordoned" in answer.out
    assert shell("devices", "uncordon", "GPU-1").code == 3
    assert "device.cordoned" in shell("status").out


def test_on_a_fresh_host(shell: Shell) -> None:
    answer = shell("devices", "--json")
    assert (answer.code, json.loads(answer.out)["cordons"]) == (0, [])


def test_why_says_what_a_live_task_waits_for(shell: Shell, journal: Write) -> None:
    journal()
    waits = "GPU-1: in use by quake (pid 4242, 5.0 GiB)"

    async def prepare(office: Office) -> None:
        async def status(_: Mapping[str, Any]) -> dict[str, Any]:
            return {"live": [{"address": LIVE, "waits": waits}]}

        office.desk.verbs = {**office.desk.verbs, "status": status}

    with Counter(shell.folder / "data", prepare):
        assert f"It waits: {waits}" in shell("why", LIVE).out
        assert json.loads(shell("why", LIVE, "--json").out)["waits"] == waits
        assert json.loads(shell("why", DECLINED, "--json").out)["waits"] is None
    assert json.loads(shell("why", LIVE, "--json").out)["waits"] is None
