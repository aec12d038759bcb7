"""What operators mistype: exit code 2, a code and a remedy, before anything is read, asked or sent."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cyclopts
import pytest

from ogpu_provider.cli.main import app
from ogpu_provider.devnet import screen
from tests.unit.cli.conftest import SOURCE, Shell

WORDS: dict[str, tuple[str, ...]] = {
    "tasks show": (SOURCE,),
    "tasks logs": (SOURCE,),
    "why": (SOURCE,),
    "sources add": (SOURCE,),
    "sources approve": (SOURCE,),
    "sources remove": (SOURCE,),
    "sources retry": (SOURCE,),
    "devices cordon": ("GPU-1",),
    "devices uncordon": ("GPU-1",),
    "vault deposit": ("5",),
    "vault lock": ("5",),
    "vault unbond": ("5",),
    "vault withdraw": ("5",),
    "gateway keys create": ("me",),
    "gateway keys revoke": ("k",),
    "gateway keys rotate": ("k",),
    "gateway models add": ("multiply", SOURCE, "multiply", "0.01"),
    "gateway models remove": ("multiply",),
    "gateway webhooks disable": ("https://example.org/",),
    "gateway webhooks enable": ("https://example.org/",),
    "gateway webhooks list": (),
    "top": ("--once",),
}
"""What a command cannot do without, in valid words."""


def commands(command: cyclopts.App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Those that read settings."""
    names = [name for name in command if not name.startswith("-")]
    for name in names:
        yield from commands(command[name], (*path, name))
    if command.default_command is not None and path:
        flags = {name for argument in command.assemble_argument_collection() for name in argument.names}
        if "--config" in flags:
            yield path


EVERY = sorted({*commands(app)} - {("register",)})
"""`register` writes the file that it is given."""


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_settings_that_are_named_and_not_there_are_not_replaced_by_others(
    shell: Shell, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """By those of the main network, say, and the key of another provider."""
    wanted = WORDS.get(" ".join(words), ())
    answer = shell(*words, *wanted, "--config", str(tmp_path / "none.toml"), config=False)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error [config.missing_file]"), answer.err
    assert "\nremedy: " in answer.err


def test_the_commands_that_send_are_among_them() -> None:
    assert {("vault", "deposit"), ("vault", "withdraw"), ("vault", "claim"), ("run",), ("gateway", "run")} <= {*EVERY}
    assert len(EVERY) > 40


@pytest.mark.parametrize(
    ("words", "code", "remedy"),
    [
        (("doctor", "--only", "key"), "usage.check", "account"),
        (("why", "banana"), "usage.address", "hex"),
        (("tasks", "show", "0x"), "usage.address", "hex"),
        (("sources", "add", "0x123"), "usage.address", "hex"),
        (("vault", "deposit", "5", "--yes", "--password-file", "/no/such/file"), "config.secret", "path"),
        (("vault", "deposit", "much", "--yes"), "usage.amount", "decimals"),
        (("vault", "deposit", "-5", "--yes"), "usage.amount", "decimals"),
        (("simulate", "--policy", "/no/such/file"), "config.missing_file", "path"),
        (("simulate", "--host", "/no/such/file"), "config.unreadable", "--host"),
        (("why-idle", "--since", "banana"), "usage.since", "30d"),
        (("keys", "create", "--password-file", "/no/such/file"), "config.secret", "path"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(
    shell: Shell, journal: Callable[[], None], words: tuple[str, ...], code: str, remedy: str
) -> None:
    journal()
    answer = shell(*words)
    said = answer.err.splitlines()
    assert (answer.code, said[0].startswith(f"error [{code}]")) == (2, True), answer.err
    assert remedy in said[-1], answer.err


def test_a_keystore_that_is_there_is_named_with_what_can_be_set(shell: Shell) -> None:
    word = shell.folder / "word"
    word.write_text("horse\n")
    word.chmod(0o600)
    make = ("keys", "create", "--password-file", str(word))
    assert shell(*make).code == 0
    again = shell(*make)
    assert again.code == 1
    assert "wallet.keystore" in again.err
    assert shell("config", "explain", "wallet.keystore").code == 0


def test_the_demos_table_is_whole_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = screen.Screen()
    assert shown.console.width >= screen.ROOM
    shown.table([])
    head = capsys.readouterr().err
    for name in ("task", "source", "delivery", "state", "transactions", "CID", "seconds", "earned"):
        assert f" {name} " in head
