"""Alerts over a real socket: what a receiver gets, and receivers that hang, refuse, fail, or are not there."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from ogpu_provider.control.alarm import LOOK_S, NOTE, REST_S, Alarm, Receiver, Sender, trial
from ogpu_provider.control.alerts import AlertPolicy, Alerts
from ogpu_provider.control.diagnosis import Finding, Severity
from ogpu_provider.domain.errors import FetchError, Retry, StoreError
from ogpu_provider.ipfs.webhook import Poster
from tests.fakes.chain import US
from tests.fakes.clock import FakeClock, settle
from tests.unit.control.receiver import HANGS, Inbox, inbox

GAS = Finding("wallet.low", "gas for about 3 tasks", "send coin", Severity.WARNING)
DOWN = Finding("rpc.down", "no endpoint answers", "", Severity.CRITICAL)
SENDER = Sender(US, "testnet")


class Notes:
    """What the journal keeps; with `broken`, it cannot be written."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.broken = False

    async def note(self, key: str, text: str) -> None:
        if self.broken:
            raise StoreError("the disk is full", code="store.full")
        self.kept[key] = text

    async def meta(self) -> dict[str, str]:
        return dict(self.kept)


class Watched:
    """An alarm that runs; `found` is what is wrong now."""

    def __init__(self, url: str, poster: Poster, notes: Notes, *, limit: float = 10.0, after: float = 0.0) -> None:
        self.found: Sequence[Finding] = []
        self.looks = 0
        self.clock = FakeClock()
        self.notes = notes
        names = iter("abcdefgh")
        receiver = Receiver(url, "http://127.0.0.1/…", poster.post, limit)
        alerts = Alerts(AlertPolicy(after=after, remind=3600), lambda: next(names))
        self.alarm = Alarm(alerts, self._look, SENDER, receiver, notes, self.clock)

    def _look(self) -> Sequence[Finding]:
        self.looks += 1
        return self.found

    async def later(self, seconds: float = LOOK_S) -> None:
        """So much time passes; what is on its way over a socket has its own."""
        await self.clock.advance(seconds)

    async def until(self, problem: str) -> None:
        """Once the last try came to this, by the time of the socket."""
        async with asyncio.timeout(60):
            while problem not in self.alarm.problem:
                await asyncio.sleep(0.01)

    async def told(self, *codes: str, passing: float = 0.0) -> None:
        """Once the receiver has taken that these stand, and no others; `passing` seconds go by between two looks."""
        async with asyncio.timeout(60):
            while sorted(codes) != sorted(one["code"] for one in self.alarm.document()["standing"]):
                await self.clock.advance(passing)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def watched(
    url: str, *, notes: Notes | None = None, limit: float = 10.0, after: float = 0.0
) -> AsyncIterator[Watched]:
    async with Poster(allow_private=True) as poster:
        made = Watched(url, poster, notes or Notes(), limit=limit, after=after)
        running = asyncio.ensure_future(made.alarm.run())
        await settle()
        try:
            yield made
            assert not running.done()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_the_receiver_is_told_of_the_begin_and_the_end_by_one_id() -> None:
    async with inbox() as box, watched(box.url) as here:
        here.found = [GAS]
        begun = here.clock.now()
        await here.later()
        await here.told("wallet.low")
        here.found = []
        await here.later()
        await here.told()
        await here.later(10 * LOOK_S)
        first, last = box.taken
    assert first == {
        "id": "a",
        "at": begun + LOOK_S,
        "since": begun + LOOK_S,
        "severity": "warning",
        "code": "wallet.low",
        "subject": "",
        "title": f"OGPU provider {US[:6]}…{US[-4:]}: wallet.low (warning)",
        "text": "gas for about 3 tasks",
        "remedy": "send coin",
        "provider": US,
        "network": "testnet",
        "told": 0,
        "resolved": False,
    }
    assert (last["id"], last["resolved"], last["told"], last["title"][-6:]) == ("a", True, 1, "(over)")
    assert (len(box.taken), box.refused) == (2, [])
    assert box.paths == ["/hooks/s3cr3t-t0ken?also=pa55phrase"] * 2


async def test_it_is_tried_again_while_the_receiver_fails_and_the_alert_comes_once() -> None:
    async with inbox(500, 503) as box, watched(box.url) as here:
        here.found = [GAS]
        await here.later()
        await here.until("HTTP 500")
        assert here.alarm.document()["waiting"] == 1
        await here.later(1)
        await here.until("HTTP 503")
        await here.later(2)
        await here.told("wallet.low")
        await here.later(10 * LOOK_S)
        assert here.alarm.problem == ""
        assert here.alarm.document()["waiting"] == 0
    assert (len(box.taken), len(box.refused)) == (1, 2)


async def test_a_receiver_that_hangs_is_left_and_holds_up_no_look() -> None:
    async with inbox(HANGS) as box, watched(box.url, limit=1) as here:
        here.found = [GAS]
        await here.later()
        await box.until_refused(1)
        looks = here.looks
        here.found = [GAS, DOWN]
        await here.later(4 * LOOK_S)
        assert here.looks == looks + 4
        await here.until("no answer within 1 s")
        await here.told("rpc.down", "wallet.low", passing=1)
        first, second = box.taken
    assert (first["code"], second["code"]) == ("rpc.down", "wallet.low")


async def test_a_receiver_that_is_not_there_is_said_to_be_and_found_again() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    async with watched(f"http://127.0.0.1:{port}/") as here:
        here.found = [GAS]
        await here.later()
        await here.until("could not be reached")
        box = Inbox(port=port)
        server = await asyncio.start_server(box.serve, "127.0.0.1", port)
        await here.told("wallet.low", passing=REST_S)
        server.close()
        assert here.alarm.problem == ""


async def test_an_alert_that_is_not_taken_does_not_stand_before_the_others() -> None:
    async with inbox(400) as box, watched(box.url) as here:
        here.found = [DOWN, GAS]
        await here.later()
        await here.told("wallet.low")
        await here.later(REST_S + LOOK_S)
        await here.told("wallet.low", "rpc.down")
        other, again = box.taken
    assert (box.refused[0]["code"], other["code"], again["code"]) == ("rpc.down", "wallet.low", "rpc.down")


async def test_what_was_told_is_kept_and_told_no_second_time_after_a_restart() -> None:
    notes = Notes()
    async with inbox() as box:
        async with watched(box.url, notes=notes) as here:
            here.found = [GAS]
            await here.later()
            await here.told("wallet.low")
            await settle()
        assert [row["code"] for row in json.loads(notes.kept[NOTE])] == ["wallet.low"]
        async with watched(box.url, notes=notes, after=60) as here:
            here.found = [GAS, DOWN]
            await here.later(200)
            await here.told("wallet.low", "rpc.down")
            here.found = [DOWN]
            await here.later(200)
            await here.told("rpc.down")
        _, second, last = box.taken
        assert second["code"] == "rpc.down"
        assert (last["id"], last["code"], last["resolved"]) == (box.taken[0]["id"], "wallet.low", True)
    assert len(box.taken) == 3


@pytest.mark.parametrize("text", ["", "no json", "{}", '["a"]', '[{"id": 1}]'])
async def test_a_note_that_does_not_fit_and_a_journal_that_cannot_be_written_stop_nothing(text: str) -> None:
    notes = Notes()
    notes.kept[NOTE], notes.broken = text, True
    async with inbox() as box, watched(box.url, notes=notes) as here:
        here.found = [GAS]
        await here.later()
        await here.told("wallet.low")
        here.found = [DOWN]
        await here.later()
        await here.told("rpc.down")
    assert len(box.taken) == 3


async def test_a_trial_says_what_came_back() -> None:
    message = SENDER.message(trial(5.0), 5.0)
    assert (message["code"], message["severity"]) == ("alerts.test", "info")
    async with Poster(allow_private=True) as poster, inbox(204, 404, 429, HANGS) as box:
        assert await Receiver(box.url, "here", poster.post, 60).tell(message) == 204
        for text, retry, limit in (
            ("it answered HTTP 404", Retry.NEVER, 60.0),
            ("it answered HTTP 429", Retry.LATER, 60.0),
            ("no answer within 0.2 s", Retry.LATER, 0.2),
        ):
            with pytest.raises(FetchError) as caught:
                await Receiver(box.url, "here", poster.post, limit).tell(message)
            assert (str(caught.value), caught.value.retry) == (text, retry)
    assert box.taken == [message]
