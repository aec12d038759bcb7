"""What `doctor` prints and returns, on settings of a host where hardly anything is there."""

import json
from dataclasses import replace

import pytest

from ogpu_provider import environment
from ogpu_provider.cli.doctor import show
from ogpu_provider.doctor.finding import Finding, Severity, Status, Topic
from tests.unit.cli.conftest import Shell

KEYS = {"id", "status", "severity", "found", "meaning", "remedy", "fixable"}
FOUND = Finding("key_private", Topic.ACCOUNT, Status.FAILED, Severity.ERROR, "open to all", "m" * 200, "chmod", True)


def test_json_has_the_promised_keys_and_an_error_is_exit_code_1(shell: Shell) -> None:
    answer = shell("doctor", "--json", "--only", "files", "key_present", "sources_chosen")
    checks = json.loads(answer.out)["checks"]
    assert answer.code == 1
    assert all(set(check) == KEYS for check in checks)
    by_id = {check["id"]: check for check in checks}
    assert (by_id["key_present"]["status"], by_id["key_present"]["severity"]) == ("failed", "error")
    assert by_id["journal_owner"]["status"] == "skipped"
    assert "engine_reachable" not in by_id


def test_warnings_alone_are_exit_code_0(shell: Shell) -> None:
    answer = shell("doctor", "--only", "sources_chosen")
    assert answer.code == 0
    assert "warning  sources_chosen  sources.serve names none" in answer.out
    assert answer.out.endswith("1 check: 0 errors, 1 warning\n")


def test_fix_mends_the_data_directory(shell: Shell) -> None:
    data = shell.folder / "data"
    data.mkdir()
    data.chmod(0o755)
    before = shell("doctor", "--json", "--only", "data_dir_private")
    assert json.loads(before.out)["checks"][0]["fixable"] is True
    mended = shell("doctor", "--fix", "--json", "--only", "data_dir_private")
    assert json.loads(mended.out)["checks"][0]["status"] == "ok"
    assert data.stat().st_mode & 0o777 == 0o700


def test_an_unknown_check_is_a_wrong_usage(shell: Shell) -> None:
    answer = shell("doctor", "--only", "engine_reachible")
    assert answer.code == 2
    assert "no check or topic engine_reachible" in answer.err


def test_the_table_is_wrapped_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = replace(FOUND, found="GPU \x1b[2Jnamed\nbadly", remedy="see \x07 there")
    show([hostile, replace(FOUND, id="paired", status=Status.OK)], colours=False)
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "(--fix does it)" in text
    assert text.startswith("account\n  error    key_private  GPU  [2Jnamed badly\n")
    show([FOUND], colours=True)
    assert "\x1b[31merror" in capsys.readouterr().out


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}, {}])
def test_colours_are_for_terminals_that_want_them(environ: dict[str, str]) -> None:
    assert not environment.colours(environ)
    assert environment.colours({"TERM": "xterm-256color"})
