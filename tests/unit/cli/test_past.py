"""`why-idle`, `simulate` and `why` where no node answers: with a daemon, without one, and without any journal."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.cli.conftest import DECLINED, LIVE, Shell
from tests.unit.cli.test_daily import at_work
from tests.unit.control.desk import Counter

ALL = ("--since", "1970-01-01")


@pytest.fixture(autouse=True)
def nobody_answers(shell: Shell) -> None:
    with shell.config.open("a") as settings:
        settings.write('[network]\nname = "devnet"\nrpc_url = "http://127.0.0.1:9"\n')


def idle(shell: Shell, *words: str) -> dict[str, Any]:
    answer = shell("why-idle", *ALL, "--json", *words)
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_the_journal_alone_tells_what_was_missed_beside_a_daemon_and_without(
    shell: Shell, journal: Callable[[], None]
) -> None:
    journal()
    alone = idle(shell, "--offline")
    assert alone["published"] == {"tasks": 2, "worth_wei": 3 * 10**16, "worth": "0.03"}
    assert alone["taken"] == {"tasks": 1, "worth_wei": 2 * 10**16, "worth": "0.02"}
    (reason,) = alone["reasons"]
    assert (reason["code"], reason["tasks"], reason["worth_wei"]) == ("payment.below_floor", 1, 10**16)
    with Counter(shell.folder / "data", at_work):
        beside = idle(shell, "--offline")
    assert (beside["published"], beside["reasons"]) == (alone["published"], alone["reasons"])


def test_a_node_that_does_not_answer_is_said_and_what_is_known_is_told(
    shell: Shell, journal: Callable[[], None]
) -> None:
    journal()
    answer = shell("why-idle", *ALL)
    assert answer.code == 0
    assert "warning: the chain could not be read" in answer.err
    assert "1 missed, 0.01" in answer.out
    assert "payment.below_floor" in answer.out
    assert idle(shell)["complete"] is False


def test_without_a_journal_and_a_past_there_is_nothing_to_tell(shell: Shell) -> None:
    found = idle(shell, "--offline")
    assert (found["published"], found["reasons"]) == ({"tasks": 0, "worth_wei": 0, "worth": "0"}, [])
    machine = shell.folder / "host.toml"
    machine.write_text("cpu_slots = 2\n")
    answer = shell("simulate", "--offline", "--host", str(machine))
    assert answer.code == 0
    assert answer.out.startswith("0 tasks from ")
    assert "not known: no transaction was ever sent here" in answer.out


def test_wrong_words_are_wrong_usage(shell: Shell) -> None:
    for words in (("--since", "yesterday"), ("--competition", "some"), ("--policy", "/nowhere/policy.toml")):
        assert shell("simulate", "--offline", *words).code == 2


def test_why_of_a_task_in_the_journal_asks_nobody(shell: Shell, journal: Callable[[], None]) -> None:
    journal()
    for task, state in ((DECLINED, "declined"), (LIVE, "executing")):
        assert json.loads(shell("why", task, "--json").out)["state"] == state
    assert not (shell.folder / "data" / "history.db").exists()
