"""A changed compose file waits for the operator, whose word comes over the daemon's socket."""

import asyncio
import hashlib
from dataclasses import asdict
from pathlib import Path

import pytest

from ogpu_provider.control.client import ControlClient
from ogpu_provider.control.server import ControlServer
from ogpu_provider.control.wire import SOCKET_NAME
from ogpu_provider.domain.approval import ImageOffer, OnChange
from ogpu_provider.domain.errors import ControlError, ControlRefused
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.units import Address
from tests.fakes.clock import settle
from tests.unit.control.desk import Office, open_office
from tests.unit.pipeline.stage import COMPOSE, METADATA, Outside, serving

CHANGED = b"services: {changed: true}"


def sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


async def change(office: Office, source: Address, compose: bytes) -> None:
    office.daemon.outside.content.documents[COMPOSE] = compose
    await office.daemon.block(office.daemon.outside.chain.update_source(source, METADATA))


async def standing(client: ControlClient, source: Address) -> tuple[str, str | None]:
    """State and code of a source as `status` tells them."""
    found = await client.ask("status")
    row = next(row for row in found["sources"] if row["address"] == source)
    return row["state"], row["code"]


async def becomes_ready(client: ControlClient, source: Address) -> None:
    async with asyncio.timeout(30):
        while (await standing(client, source))[0] != SourceState.READY:
            await settle()


async def test_a_changed_file_is_not_run_before_its_hash_is_approved_over_the_socket(tmp_path: Path) -> None:
    outside = Outside()
    source = outside.source()
    async with open_office(outside) as office, ControlServer(tmp_path / SOCKET_NAME, office.desk.verbs):
        client = ControlClient(tmp_path)
        await serving(office.daemon, source)
        before = outside.runtime.running[source].compose
        await change(office, source, CHANGED)
        assert await standing(client, source) == (SourceState.UNFIT, "compose.changed")
        for asked in ({"sha256": sha256(before)}, {"sha256": "ab" * 32}, {"waive": ["compose.privileged"]}):
            with pytest.raises((ControlError, ControlRefused)):
                await client.ask("sources.approve", source=source, reason="because", **asked)
            assert outside.runtime.running[source].compose == before
        await client.ask("sources.retry", source=source)
        await settle()
        assert await standing(client, source) == (SourceState.UNFIT, "compose.changed"), "another look approves nothing"
        answer = await client.ask("sources.approve", source=source, sha256=sha256(CHANGED))
        assert (answer["sha256"], answer["by_operator"]) == (sha256(CHANGED), True)
        await becomes_ready(client, source)
        assert outside.runtime.running[source].compose == CHANGED
        # the word was for that file: the next one waits again, and so does the old one
        for compose in (b"services: {another: true}", before):
            await change(office, source, compose)
            assert await standing(client, source) == (SourceState.UNFIT, "compose.changed")
            assert outside.runtime.running[source].compose == CHANGED


@pytest.mark.parametrize("policy", OnChange)
async def test_other_images_wait_for_the_operator_whom_only_never_does_not_hear(
    tmp_path: Path, policy: OnChange
) -> None:
    outside = Outside()
    source = outside.source()
    outside.content.documents[COMPOSE] = b"image: a"
    async with (
        open_office(outside, on_change=policy) as office,
        ControlServer(tmp_path / SOCKET_NAME, office.desk.verbs),
    ):
        client = ControlClient(tmp_path)
        await serving(office.daemon, source)
        await change(office, source, b"image: b")
        assert await standing(client, source) == (SourceState.UNFIT, "compose.changed")
        if policy is OnChange.NEVER:
            with pytest.raises(ControlRefused):
                await client.ask("sources.approve", source=source, sha256=sha256(b"image: b"))
            assert outside.runtime.running[source].compose == b"image: a"
            return
        await client.ask("sources.approve", source=source, sha256=sha256(b"image: b"))
        await becomes_ready(client, source)
        assert outside.runtime.running[source].compose == b"image: b"


async def test_an_image_is_taken_by_the_digest_that_was_looked_at(tmp_path: Path) -> None:
    outside = Outside()
    source = outside.source()
    async with (
        open_office(outside) as office,
        ControlServer(tmp_path / SOCKET_NAME, office.desk.verbs),
    ):
        client = ControlClient(tmp_path)
        await serving(office.daemon, source)
        offer = ImageOffer("registry.example/x:1", "sha256:a", "sha256:b", 5.0)
        office.desk.offers = lambda: {source: (offer,)}
        (shown,) = (await client.ask("status"))["sources"]
        assert shown["images_offered"] == [asdict(offer)]
        with pytest.raises(ControlRefused) as caught:
            await client.ask("sources.approve", source=source, digest="sha256:c")
        assert (caught.value.code, outside.runtime.approvals) == ("approve.other_image", [])
        answer = await client.ask("sources.approve", source=source, digest="sha256:b")
        assert answer["images_accepted"] == []
        assert outside.runtime.approvals == [source]


async def test_where_changes_are_never_taken_no_image_is(tmp_path: Path) -> None:
    outside = Outside()
    source = outside.source()
    async with (
        open_office(outside, on_change=OnChange.NEVER) as office,
        ControlServer(tmp_path / SOCKET_NAME, office.desk.verbs),
    ):
        client = ControlClient(tmp_path)
        await serving(office.daemon, source)
        office.desk.offers = lambda: {source: (ImageOffer("x:1", "sha256:a", "sha256:b", 5.0),)}
        with pytest.raises(ControlRefused) as caught:
            await client.ask("sources.approve", source=source, digest="sha256:b")
        assert caught.value.code == "approve.never"
        await client.ask("sources.approve", source=source)
        assert outside.runtime.approvals == [], "the word was for the file alone"
