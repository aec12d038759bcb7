"""Terminals of all kinds: none, dumb, narrow, and one with a person."""

import io
import os

import pytest

from ogpu_provider.chain.mastery import announce_provider, vault_call
from ogpu_provider.chain.networks import TESTNET
from ogpu_provider.cli.terminal import Terminal, picture
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.units import COIN, Address

PROVIDER = Address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
LINK = announce_provider(TESTNET, PROVIDER, 100 * COIN).link


class Screen(io.TextIOWrapper):
    def __init__(self, encoding: str = "utf-8", *, tty: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    def text(self) -> str:
        self.flush()
        raw: bytes = self.buffer.getvalue()  # type: ignore[attr-defined]
        return raw.decode(self.encoding)


class Typed(io.StringIO):
    def __init__(self, text: str, *, tty: bool = True) -> None:
        super().__init__(text)
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


def test_a_person_is_asked_again_for_nonsense() -> None:
    talk = Terminal(yes=False, out=Screen(), typed=Typed("perhaps\nno\n\nhello\n"))
    assert talk.confirm("Sure?", flag="--yes") is False
    assert talk.ask("Name?", flag="--name") == "hello"


def test_an_empty_answer_is_the_default() -> None:
    talk = Terminal(yes=False, out=Screen(), typed=Typed("\n\n\n"))
    assert talk.ask("Which?", flag="--which", default="devnet") == "devnet"
    assert talk.confirm("Sure?", flag="--yes", default=True)
    assert not talk.confirm("Sure?", flag="--yes", default=False)


@pytest.mark.parametrize("yes", [True, False])
def test_without_a_person_the_flag_is_named(yes: bool) -> None:
    talk = Terminal(yes=yes, out=Screen(), typed=Typed("", tty=False))
    for question in (lambda: talk.ask("Who?", flag="--who"), lambda: talk.secret("Word?", flag="--who")):
        with pytest.raises(ConfigError) as caught:
            question()
        assert (caught.value.code, "--who" in caught.value.remedy) == ("usage.no_answer", True)


def test_yes_confirms_and_takes_defaults() -> None:
    talk = Terminal(yes=True, out=Screen(), typed=Typed(""))
    assert talk.confirm("Sure?", flag="--yes", default=False)
    assert talk.ask("Which?", flag="--which", default="a") == "a"


def test_the_end_of_the_input_is_no_answer() -> None:
    talk = Terminal(yes=False, out=Screen(), typed=Typed(""))
    with pytest.raises(ConfigError):
        talk.ask("Who?", flag="--who")


def test_a_terminal_without_letters_beyond_ascii_loses_only_those() -> None:
    screen = Screen("ascii")
    talk = Terminal(yes=False, out=screen, typed=Typed(""))
    talk.say("naïve \x1b[31m… \u202eevil")
    talk.show(announce_provider(TESTNET, PROVIDER, COIN), signer="m", currency="ToGPU", sentence="Sign:")
    assert "\x1b" not in screen.text()
    assert "0xe54ae3a3" in screen.text()
    assert "█" not in screen.text()


def test_the_code_is_drawn_where_it_fits() -> None:
    assert picture(LINK, "utf-8", 40) == ""
    drawn = picture(LINK, "utf-8", 80)
    assert set(drawn) <= set("█▀▄ \n")
    assert len({len(line) for line in drawn.splitlines()}) == 1
    screen = Screen(tty=False)
    talk = Terminal(yes=True, out=screen, typed=Typed(""))
    talk.show(announce_provider(TESTNET, PROVIDER, COIN), signer="m", currency="ToGPU", sentence="Sign:")
    assert "█" not in screen.text(), "a file wants no picture"


def test_links_are_eip_681() -> None:
    terminal = "0x1ea332Fc14a5AFD3AF3852B45C263Ab5b1Dd6f52"
    query = f"address={PROVIDER}&uint256=100000000000000000000&value=100000000000000000000"
    assert f"ethereum:{terminal}@200820172034/announceProvider?{query}" == LINK
    deposit = vault_call(TESTNET, "deposit", PROVIDER, value=5)
    assert deposit.link.endswith(f"/deposit?address={PROVIDER}&value=5")
    assert deposit.data.hex().startswith("f340fa01")
    assert vault_call(TESTNET, "claim").link.endswith("/claim?value=0")


def test_where_nobody_reads_nothing_more_is_done() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        talk = Terminal(yes=True, out=gone, typed=Typed(""))
        with pytest.raises(ConfigError) as caught:
            talk.say("Next: lock 100")
    assert caught.value.code == "usage.no_reader"
