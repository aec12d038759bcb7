"""`ogpu-provider register` on a real chain: from nothing to registered, cut off anywhere, nothing ever twice."""

import asyncio
import signal
import subprocess
import sys
import tomllib

import pytest

from ogpu_provider.domain.killpoints import ONBOARDING
from ogpu_provider.domain.units import COIN
from tests.integration.onboarding.host import SIGN, BareHost, stop, until_printed
from tests.integration.onboarding.person import Person

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]
ONCE = {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Registered": 1, "Locked": 1}


async def test_the_printed_transaction_signed_elsewhere_pairs_and_the_rest_follows(host: BareHost, source: str) -> None:
    done = await host.signed_by_master(*host.flags("--source", source))
    assert done.code == 0, done.err
    assert await host.ask("Terminal", "masterOf", host.provider.address) == host.master.address
    assert await host.said() == ONCE
    settings = tomllib.loads(host.config.read_text())
    assert settings["sources"]["serve"] == [source]
    assert settings["admission"] == {"min_payment": "0.001"}
    assert "# mine" in host.config.read_text()
    assert host.config.stat().st_mode & 0o077 == 0
    assert host.provider.private_key[2:] not in done.out + done.err + host.config.read_text()
    again = await host.run(*host.flags("--source", source, "--json"))
    assert again.code == 0
    assert {step["state"] for step in again.document["steps"][:-1]} <= {"already", "skipped"}
    assert await host.said() == ONCE


ORDER = ("master", "announceMaster", "deposit", "lock", "register")
POINTS = [f"{effect}.{side}" for effect in ORDER for side in ("signed", "sent")]


async def test_killed_around_every_transaction_it_sends_each_once(host: BareHost, source: str) -> None:
    """Each run dies at the next point and the one after it goes on; the stake is raised half-way to need a deposit."""
    assert set(POINTS) == set(ONBOARDING)
    await host.fund(host.provider.address, 50 * COIN)
    master = ("--master-keystore", str(await _keystore(host)), "--master-password-file", str(host.folder / "word"))
    for point in POINTS:
        lockup = "120" if point.startswith(("deposit", "lock", "register")) else "100"
        died = await host.run(*host.flags("--source", source, "--lockup", lockup, *master), point=point)
        assert died.code == -signal.SIGKILL, f"{point}: {died.out[-500:]} {died.err}"
    done = await host.run(*host.flags("--source", source, "--lockup", "120", *master))
    assert done.code == 0, done.err
    assert await host.said() == {**ONCE, "Deposited": 1, "Locked": 2}
    assert await host.ask("Vault", "lockupOf", host.provider.address) == 120 * COIN
    assert await host.nonce() == 4, "announceMaster, deposit, lock, register"


async def _keystore(host: BareHost) -> str:
    """The master's key as a wallet exports it; for people who have it at hand."""
    from ogpu_provider.keys import keystore

    path = host.folder / "master.json"
    await keystore.import_key(path, host.master.private_key, "horse", rounds=4096)
    return str(path)


def answers_of(host: BareHost) -> dict[str, str]:
    made = host.network.describe()
    return {
        r"Which network .*\? \[mainnet\] $": "devnet",
        r"RPC URL of the devnet\? $": made["rpc_url"],
        r"pinning service's URL\? $": made["pin_url"] + "/file/create",
        r"There is no key yet.*\[new\] $": "hex",
        r"Private key, 64 hex digits: $": host.provider.private_key,
        r"New password for the keystore: $": "correct horse",
        r"Once more: $": "correct horse",
        r"Password of .*keystore.json: $": "correct horse",
        r"Keep the password in .*\[Y/n\] $": "",
        r"Address of the master .*\? (\[0x.*\] )?$": host.master.address,
        r"that the master locks .*\? \[100\] $": "",
        r"Send it with the provider's key\? \[Y/n\] $": "y",
        r"Which ones .*\? \[none\] $": "1",
        r"Send it\? \[Y/n\] $": "yes",
    }


async def test_a_person_who_gives_up_at_every_question_is_asked_on_and_nothing_is_sent_twice(
    host: BareHost, source: str
) -> None:
    words = ("register", "--skip-host-check", "--leave-images", "--config", str(host.config), "--wait", "30")
    signed = []

    def sign(printed: str) -> None:
        """On the master's machine, with what is on the screen."""
        text = printed.replace("\r", "")
        command = [sys.executable, str(SIGN), host.network.node.rpc_url, str(host.folder / "master")]
        signed.append(subprocess.run(command, input=text, text=True, capture_output=True, check=True).stdout)

    tired_of: set[str] = set()  # each question is left once
    shown = ""
    while True:
        marks = {} if signed else {"Waiting for it on chain": sign}
        person = Person(answers_of(host), tired_of=tired_of, marks=marks)
        code = await asyncio.to_thread(person.run, words)
        shown += person.seen
        assert "Traceback" not in person.seen
        if code == 0:
            break
        assert code == 130, person.seen[-2000:]
        assert "goes on from here" in person.seen
    assert tired_of == set(answers_of(host))
    assert len(signed) == 1
    assert await host.said() == ONCE
    assert await host.nonce() == 2
    assert tomllib.loads(host.config.read_text())["sources"]["serve"] == [source]
    password = host.folder / "data" / "password"
    assert password.stat().st_mode & 0o777 == 0o600
    assert "█▀▀▀" in shown or "▄▄▄▄▄" in shown, "the QR code"
    assert host.provider.private_key[2:] not in shown
    assert "correct horse" not in shown


async def test_interrupted_while_it_waits_for_the_master(host: BareHost) -> None:
    waiting = await host.start(*host.flags("--source", "none"))
    assert waiting.stdout is not None
    printed = await until_printed(waiting.stdout, "Waiting for it on chain")
    assert await stop(waiting, signal.SIGINT) == 130
    await host.sign(printed)
    await asyncio.sleep(1.0)
    done = await host.run(*host.flags("--source", "none", "--json"))
    assert done.code == 0, done.err
    assert [step["state"] for step in done.document["steps"]][:4] == ["already", "already", "skipped", "done"]
    assert await host.said() == {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Locked": 1}
