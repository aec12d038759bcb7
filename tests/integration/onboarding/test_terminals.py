"""Terminals of every kind, and none: what is asked and shown stays readable, and nothing hangs or is guessed."""

import re

import pytest

from tests.integration.onboarding.answers import answers_of
from tests.integration.onboarding.host import BareHost, shell
from tests.integration.onboarding.person import Person

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


def words_of(host: BareHost) -> tuple[str, ...]:
    return ("register", "--skip-host-check", "--config", str(host.config), "--wait", "0")


async def shown(host: BareHost, person: Person, **how: object) -> str:
    """What is on the screen up to the master's transaction, which nobody signs."""
    assert await host.at_terminal(person, *words_of(host), **how) == 3, person.seen
    text = person.seen
    assert "error [pairing.waiting]: " in text
    assert "remedy: " in text
    assert "\x1b" not in text, "no colours, no cursor"
    assert "Traceback" not in text
    assert re.search(
        r"^  link +ethereum:0x\w{40}@\d+/announceProvider\?\S+uint256=\d+\S+$", text.replace("\r", ""), re.MULTILINE
    )
    return text


async def test_narrow_and_of_ascii_only(host: BareHost) -> None:
    environ = {"TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    text = await shown(host, Person(answers_of(host), columns=20), environ=environ, fresh=True)
    assert text.isascii()
    assert "█" not in text


async def test_wide_and_of_no_known_width(host: BareHost) -> None:
    unset = {"COLUMNS": "", "LINES": ""}
    wide = await shown(host, Person(answers_of(host), columns=200), environ=unset)
    assert "█▀" in wide, "the QR code"
    narrow = await shown(host, Person(answers_of(host), columns=30), environ=unset)
    assert "█▀" not in narrow
    await shown(host, Person(answers_of(host), columns=0), environ={"TERM": "", **unset})
    assert await host.nonce() == 0


async def test_none_at_all(host: BareHost) -> None:
    """Standard input is empty, or closed; the first question that has no answer ends it, and names its flag."""
    empty = await host.run(*words_of(host))
    closed = await shell(f"{' '.join(words_of(host))} <&-")
    for done in (empty, closed):
        assert (done.code, "[usage.no_answer]" in done.err, "--network" in done.err) == (2, True, True), done
    assert not (host.folder / "data").exists()


async def test_nobody_reads_what_it_says(host: BareHost) -> None:
    """Standard output is closed from the start, or in the middle: no step is taken that nobody could read."""
    gone = await shell(f"{' '.join(host.flags())} | true")
    assert "[usage.no_reader]" in gone.err
    assert "Traceback" not in gone.err
    assert "Exception ignored" not in gone.err
    assert await host.nonce() == 0
