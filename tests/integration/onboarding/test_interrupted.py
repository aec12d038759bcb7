"""`ogpu-provider register` cut off anywhere goes on where it was, and nothing is announced, locked or registered twice.

Every run ends at the next point, from the first step to the last: after each step, and around each transaction.
"""

import asyncio
import signal
import tomllib
from collections.abc import Awaitable, Callable

import pytest

from ogpu_provider.domain.killpoints import ONBOARDING
from ogpu_provider.domain.units import COIN
from tests.integration.onboarding.answers import WORD, answers_at_hand, answers_of
from tests.integration.onboarding.host import BareHost, until_printed
from tests.integration.onboarding.person import Person

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

ONCE = {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Registered": 1, "Locked": 1}
Sitting = Callable[[BareHost, str, str, int], Awaitable[tuple[int, str]]]
POINTS = (
    *("network.done", "key.done", "host.done"),
    *("master.signed", "master.sent", "announceMaster.signed", "announceMaster.sent", "pairing.done"),
    *("deposit.signed", "deposit.sent", "lock.signed", "lock.sent", "stake.done"),
    *("register.signed", "register.sent", "sources.done", "summary.done"),
)
CODES = {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
EFFECTS = ("master", "announceMaster", "deposit", "lock", "register")


def points(sit: Sitting, number: signal.Signals) -> list[str]:
    """Who is interrupted when a transaction is signed may have sent it before the end, so that the next run does not
    come by where it is sent: of the two points, SIGINT gets one with prompts and the other with flags."""
    if number is signal.SIGKILL:
        return list(POINTS)
    first = EFFECTS[::2] if sit is with_prompts else EFFECTS[1::2]
    other = {f"{effect}.{'sent' if effect in first else 'signed'}" for effect in EFFECTS}
    return [point for point in POINTS if point not in other]


async def with_prompts(host: BareHost, source: str, point: str, number: int) -> tuple[int, str]:
    words = ("register", "--skip-host-check", "--leave-images", "--config", str(host.config), "--wait", "30")
    master = (await host.masters_keystore())[:2]
    person = Person(answers_at_hand(host))
    code = await host.at_terminal(person, *words, *master, point=point, number=number)
    return code, person.seen


async def with_flags(host: BareHost, source: str, point: str, number: int) -> tuple[int, str]:
    """The stake is raised half-way, so that it needs a deposit."""
    lockup = "80" if POINTS.index(point or POINTS[-1]) < POINTS.index("deposit.signed") else "100"
    words = host.flags("--source", source, "--lockup", lockup, *await host.masters_keystore())
    done = await host.run(*words, point=point, number=number)
    return done.code, done.out + done.err


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("sit", [with_prompts, with_flags], ids=lambda sit: sit.__name__)
async def test_cut_off_after_each_step_and_around_each_transaction(
    host: BareHost, source: str, sit: Sitting, number: signal.Signals
) -> None:
    assert set(POINTS) == set(ONBOARDING)
    assert {*points(with_prompts, signal.SIGINT), *points(with_flags, signal.SIGINT)} == set(POINTS)
    await host.fund(host.provider.address, 50 * COIN)
    for point in points(sit, number):
        code, shown = await sit(host, source, point, number)
        assert code == CODES[number], f"{point}: {shown}"
        assert "Traceback" not in shown
        assert number is not signal.SIGINT or point == "summary.done" or "goes on from here" in shown
        if point == "master.signed":
            assert "gas up to" in shown.partition("Next, with the master's key")[2]
        if point == "key.done":
            await host.reseal(WORD)
    code, shown = await sit(host, source, "", number)
    assert code == 0, shown
    assert await host.said() == {
        "MasterAnnounced": 1,
        "ProviderAnnounced": 1,
        "Registered": 1,
        "Deposited": 1,
        "Locked": 2,  # by the master with its announcement, and what was missing
    }
    assert await host.ask("Vault", "lockupOf", host.provider.address) == 100 * COIN
    assert await host.nonce() == 4, "announceMaster, deposit, lock, register"
    assert await host.nonce(host.master.address) == 1
    assert host.provider.private_key[2:] not in shown


async def test_a_person_who_gives_up_at_every_question_is_asked_on_and_nothing_is_sent_twice(
    host: BareHost, source: str
) -> None:
    words = ("register", "--skip-host-check", "--leave-images", "--config", str(host.config), "--wait", "30")
    signed = []

    def sign(printed: str) -> None:
        """On the master's machine, with what is on the screen."""
        signed.append(host.sign_now(printed))

    tired_of: set[str] = set()  # each question is left once
    shown = ""
    while True:
        marks = {} if signed else {"Waiting for it on chain": sign}
        person = Person(answers_of(host), tired_of=tired_of, marks=marks)
        code = await host.at_terminal(person, *words)
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
    assert WORD not in shown


async def test_interrupted_while_it_waits_for_the_master(host: BareHost) -> None:
    waiting = await host.start(*host.flags("--source", "none"))
    printed = await until_printed(waiting.out, "Waiting for it on chain")
    waiting.child.signal(signal.SIGINT)
    stopped = await waiting.ended()
    assert stopped.code == 130, stopped
    assert "goes on from here" in stopped.err
    await host.sign(printed)
    await asyncio.sleep(1.0)
    done = await host.run(*host.flags("--source", "none", "--json"))
    assert done.code == 0, done.err
    assert [step["state"] for step in done.document["steps"]][:4] == ["already", "already", "skipped", "done"]
    assert await host.said() == {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Locked": 1}
