"""What the reporting commands say of a journal, to people and to scripts."""

import json
from collections.abc import Callable

from tests.unit.cli.conftest import DECLINED, LIVE, PROVIDER, SOURCE, Shell

Write = Callable[[], None]


def test_tasks_are_listed_newest_first(shell: Shell, journal: Write) -> None:
    journal()
    answer = shell("tasks", "list", "--json")
    assert answer.code == 0
    rows = json.loads(answer.out)
    assert [(row["address"], row["state"]) for row in rows] == [(LIVE, "executing"), (DECLINED, "declined")]
    assert (rows[0]["payment_wei"], rows[0]["payment"]) == (2 * 10**16, "0.02")
    text = shell("tasks").out
    assert LIVE in text
    assert DECLINED in text
    assert "payment.below_floor" in text


def test_tasks_can_be_chosen_by_state_and_source(shell: Shell, journal: Write) -> None:
    journal()
    declined = json.loads(shell("tasks", "list", "--json", "--state", "declined").out)
    assert [row["address"] for row in declined] == [DECLINED]
    assert len(json.loads(shell("tasks", "list", "--json", "--source", SOURCE).out)) == 2
    assert json.loads(shell("tasks", "list", "--json", "--source", PROVIDER).out) == []
    assert len(json.loads(shell("tasks", "list", "--json", "--limit", "1").out)) == 1
    assert shell("tasks", "list", "--source", "0x12").code == 2


def test_a_task_is_shown_with_timeline_and_transactions(shell: Shell, journal: Write) -> None:
    journal()
    shown = json.loads(shell("tasks", "show", LIVE, "--json").out)
    assert [line["after"] for line in shown["timeline"]][-3:] == ["attempted", "executing", "executing"]
    assert [(tx["effect"], tx["state"]) for tx in shown["transactions"]] == [("attempt", "planned")]
    text = shell("tasks", "show", "0x2222").out
    assert "ready -> attempted" in text
    assert "attempt" in text.split("transactions")[1]


def test_why_gives_every_reason_and_the_deciding_line(shell: Shell, journal: Write) -> None:
    journal()
    answer = json.loads(shell("why", DECLINED, "--json").out)
    assert [reason["code"] for reason in answer["reasons"]] == ["payment.below_floor", "time.too_short"]
    assert (answer["decided"]["before"], answer["decided"]["after"]) == ("seen", "declined")
    text = shell("why", DECLINED).out
    assert "was declined" in text
    assert "pays 0.01, the floor is 0.02" in text
    assert "seen -> declined" in text


def test_a_second_dispatch_is_not_what_decided(shell: Shell, journal: Write) -> None:
    journal()
    decided = json.loads(shell("why", LIVE, "--json").out)["decided"]
    assert (decided["before"], decided["after"]) == ("attempted", "executing")


def test_text_of_others_cannot_steer_a_terminal(shell: Shell, journal: Write) -> None:
    journal()
    for words in (("why", DECLINED), ("tasks", "show", DECLINED), ("tasks", "show", LIVE), ("tasks",)):
        text = shell(*words).out
        assert not {"\x1b", "\x07", "\u202e"} & set(text), words


def test_sources_are_listed_with_the_reason_against_them(shell: Shell, journal: Write) -> None:
    journal()
    (row,) = json.loads(shell("sources", "list", "--json").out)
    assert (row["address"], row["state"], row["environment"]) == (SOURCE, "unfit", "cpu")
    assert row["reason"] == "privileged is refused"
    assert "compose.refused: privileged is refused" in shell("sources").out


def test_a_task_nobody_knows_is_a_refusal_and_no_journal_is_no_answer(shell: Shell, journal: Write) -> None:
    answer = shell("tasks")
    assert answer.code == 3
    assert answer.err.startswith("error [store.missing]: ")
    assert "\nremedy: " in answer.err
    journal()
    with shell.config.open("a") as settings:  # an endpoint that nobody listens at
        settings.write('[network]\nname = "devnet"\nrpc_url = "http://127.0.0.1:9"\n')
    for name, code in (("0x3", 1), ("0x" + "3" * 40, 1), ("rubbish", 2), ("0x", 2)):
        assert shell("why", name).code == code
        assert shell("tasks", "show", name).code == code
    assert "the chain could not be asked" in shell("why", "0x" + "3" * 40).err


def test_logs_are_printed_as_kept_and_their_absence_is_said(shell: Shell, journal: Write) -> None:
    journal()
    answer = shell("tasks", "logs", LIVE)
    assert answer.code == 1
    assert "[task.no_log]" in answer.err
    folder = shell.folder / "data" / "logs"
    folder.mkdir()
    (folder / f"{LIVE}.log").write_text("loading model\ndone\n")
    assert shell("tasks", "logs", LIVE).out == "loading model\ndone\n"
