"""From the settings to the receiver: what `status` calls wrong of a desk with a real path behind it is told."""

import asyncio
import io
import json
from contextlib import suppress
from dataclasses import replace

import pytest

from ogpu_provider import telemetry
from ogpu_provider.alerting import Alerting
from ogpu_provider.control.alarm import LOOK_S
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.settings import Settings
from tests.fakes.chain import US
from tests.unit.control.desk import WELL, Office, open_office
from tests.unit.control.receiver import inbox
from tests.unit.control.test_alarm import Notes
from tests.unit.pipeline.stage import Outside, serving

LOST = Cordon("GPU-2", "Test GPU", Reason("gpu.lost", "it fell off the bus"), 1.0)


def settings(url: str, **more: object) -> Settings:
    return Settings.model_validate({"alerts": {"url": url, "after": 30, **more}})


async def standing(office: Office, *codes: str) -> None:
    """Once exactly these were told, as `status` has it; time goes by meanwhile."""
    async with asyncio.timeout(60):
        while True:
            found = office.desk.alerts()
            assert found is not None
            if sorted(one["code"] for one in found["standing"]) == sorted(codes):
                return
            await office.daemon.block()
            office.desk.heard()
            await office.daemon.outside.clock.advance(LOOK_S)
            await asyncio.sleep(0.01)


async def through_a_bad_night(office: Office) -> None:
    """The owner pauses and takes a card out; another is lost, all endpoints go, gas runs out; then all is well."""
    await standing(office)
    await office.desk.verbs["pause"]({})
    await office.desk.verbs["devices.cordon"]({"card": "GPU-1"})
    (own,) = office.desk.cordons()
    office.desk.cordons = lambda: (own, LOST)
    office.endpoints[0] = replace(WELL, healthy=False, reason="HTTP 503")
    office.wallet.coin = 10**12
    await office.desk.account.look()
    await standing(office, "rpc.down", "wallet.empty", "device.cordoned")
    office.endpoints[0] = WELL
    office.desk.cordons = lambda: (own,)
    office.wallet.coin = 10**18
    await office.desk.account.look()
    await standing(office)


async def test_what_status_calls_wrong_is_told_with_its_remedy_and_its_end() -> None:
    outside = Outside()
    source = outside.source()
    log = io.StringIO()
    telemetry.configure(level="debug", format="json", stream=log)
    async with inbox() as box, open_office(outside, gpu=True) as office:
        alerting = Alerting(settings(box.url), office.desk, Notes(), outside.clock, US)
        running = asyncio.ensure_future(alerting.run())
        await serving(office.daemon, source)
        await through_a_bad_night(office)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    codes = ("device.cordoned", "rpc.down", "wallet.empty")
    assert sorted((one["code"], one["resolved"]) for one in box.taken) == [
        (code, over) for code in codes for over in (False, True)
    ]
    lost = next(one for one in box.taken if one["code"] == "device.cordoned")
    assert (lost["severity"], lost["subject"], "gpu.lost: it fell off the bus" in lost["text"]) == (
        *("warning", "GPU-2"),
        True,
    )
    down = next(one for one in box.taken if one["code"] == "rpc.down")
    assert (down["severity"], down["provider"], down["network"]) == ("critical", US, "devnet")
    assert "HTTP 503" in down["text"]
    assert "network.rpc_url" in down["remedy"]
    assert len({one["id"] for one in box.taken}) == len(codes)
    written = log.getvalue() + json.dumps(office.desk.standing(), default=str)
    assert "alert_told" in written
    assert "s3cr3t" not in written
    assert "pa55phrase" not in written


async def test_without_a_receiver_there_is_no_service() -> None:
    async with open_office(Outside()) as office:
        await Alerting(Settings(), office.desk, Notes(), office.daemon.outside.clock, US).run()
        assert office.desk.alerts() is None


async def test_a_file_that_does_not_give_its_url_keeps_the_daemon_from_starting() -> None:
    chosen = Settings.model_validate({"alerts": {"url_file": "/nowhere/receiver"}})
    async with open_office(Outside()) as office:
        with pytest.raises(ConfigError, match="/nowhere/receiver"):
            Alerting(chosen, office.desk, Notes(), office.daemon.outside.clock, US)
