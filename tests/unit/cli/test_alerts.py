"""`ogpu-provider alerts`, and what is shown of an address that holds a token."""

import json
import socket
from typing import Any

import pytest

from tests.unit.cli.conftest import PROVIDER, Shell
from tests.unit.control.desk import Counter, Office
from tests.unit.control.receiver import inbox_beside

SECRETS = ("s3cr3t-t0ken", "pa55phrase")


def receiver(shell: Shell, url: str, *more: str) -> None:
    with shell.config.open("a") as settings:
        settings.write("\n".join((f'[network]\nname = "testnet"\n[alerts]\nurl = "{url}"', *more)) + "\n")


def no_secret(*texts: str) -> None:
    assert not [secret for secret in SECRETS for text in texts if secret in text]


def test_a_test_alert_says_what_came_back(shell: Shell, journal: Any) -> None:
    journal()
    with inbox_beside(200, 500) as box:
        receiver(shell, box.url)
        good, bad = shell("alerts", "test"), shell("alerts", "test", "--json")
    assert (good.code, bad.code) == (0, 1)
    assert good.out.startswith(f"http://127.0.0.1:{box.port}/… took it: HTTP 200 after ")
    answer = json.loads(bad.out)
    assert (answer["taken"], answer["status"], answer["problem"]) == (False, None, "it answered HTTP 500")
    no_secret(good.out, good.err, bad.out, bad.err)
    (sent,) = box.taken
    assert (sent["code"], sent["provider"], sent["network"]) == ("alerts.test", PROVIDER, "testnet")


def test_a_test_alert_to_nobody_says_so(shell: Shell) -> None:
    answer = shell("alerts", "test")
    assert (answer.code, "config.alerts" in answer.err, "docs/operations.md" in answer.err) == (2, True, True)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        receiver(shell, f"http://127.0.0.1:{held.getsockname()[1]}/s3cr3t-t0ken")
        answer = shell("alerts", "test")
    assert (answer.code, "did not take it: could not be reached" in answer.out) == (1, True)
    no_secret(answer.out, answer.err)


def test_the_address_may_be_in_a_file_that_nobody_else_can_read(shell: Shell) -> None:
    file = shell.folder / "receiver"
    with inbox_beside() as box:
        file.write_text(box.url + "\n")
        file.chmod(0o600)
        with shell.config.open("a") as settings:
            settings.write(f'[alerts]\nurl_file = "{file}"\n')
        assert shell("alerts", "test").code == 0
        assert len(box.taken) == 1
        for text, mode, code in ((box.url, 0o644, "config.secret"), ("ftp://x/", 0o600, "config.invalid")):
            file.write_text(text)
            file.chmod(mode)
            answer = shell("alerts", "test")
            assert (answer.code, code in answer.err) == (2, True)
            no_secret(answer.out, answer.err)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/s3cr3t-t0ken",
        "http://93.184.216.34/s3cr3t-t0ken",
        "ftp://127.0.0.1/s3cr3t-t0ken",
        "https://s3cr3t-t0ken@hooks.example/",
        "https://:s3cr3t-t0ken@hooks.example/",
        "https:///s3cr3t-t0ken",
        "https://[::1/s3cr3t-t0ken",
        "s3cr3t-t0ken",
    ],
)
def test_an_address_that_would_give_its_token_away_is_refused_without_repeating_it(shell: Shell, url: str) -> None:
    receiver(shell, url)
    answer = shell("alerts", "test")
    assert (answer.code, "alerts.url" in answer.err) == (2, True)
    no_secret(answer.out, answer.err)


@pytest.mark.parametrize(
    "url", ["http://localhost/x", "http://127.0.0.1:8080/", "http://10.1.2.3/", "http://[fd00::1]/"]
)
def test_plain_http_goes_to_the_operators_own_network(shell: Shell, url: str) -> None:
    receiver(shell, url)
    assert shell("config", "show", "alerts").code == 0


def test_what_is_shown_of_the_settings_has_no_token(shell: Shell) -> None:
    receiver(shell, "https://hooks.example/s3cr3t-t0ken?also=pa55phrase")
    answers = [shell("config", *words) for words in (("show",), ("show", "--json"), ("explain", "alerts"))]
    assert all("https://hooks.example/…" in answer.out for answer in answers)
    no_secret(*(answer.out + answer.err for answer in answers))
    with shell.config.open("a") as settings:
        settings.write('url_file = "/nowhere"\n')
    answer = shell("config", "show")
    assert (answer.code, "not both" in answer.err) == (2, True)


TOLD = {
    "id": "a1",
    "code": "wallet.low",
    "subject": None,
    "severity": "warning",
    "text": "gas for about 3 \x1b[31mtasks",
    "remedy": "send coin",
    "since": 1000.0,
    "told": 2,
    "told_at": 2000.0,
}


def test_what_the_daemon_told_is_listed_and_a_deaf_receiver_is_in_the_status(shell: Shell, journal: Any) -> None:
    journal()
    shown: dict[str, Any] = {"to": "https://hooks.example/…", "problem": None, "waiting": 0, "left_out": 0}

    async def tells(office: Office) -> None:
        office.desk.alerts = lambda: shown

    with Counter(shell.folder / "data", tells):
        shown["standing"] = []
        assert shell("alerts").out == (
            "receiver  https://hooks.example/… takes them\nnothing is wrong that anybody was told of\n"
        )
        shown |= {"problem": "it answered HTTP 404", "waiting": 3, "left_out": 1, "standing": [TOLD]}
        answer, status = shell("alerts", "list"), shell("status")
        assert json.loads(shell("alerts", "--json").out) == shown
    assert answer.code == 1
    assert "does not take them: it answered HTTP 404" in answer.out
    for text in ("3 to be told", "left out  1, because", "warning: wallet.low: gas for", "told 2 times"):
        assert text in answer.out
    assert "\x1b" not in answer.out
    assert "alerts.untold: alerts do not reach https://hooks.example/…: it answered HTTP 404" in status.out
    assert "remedy: `ogpu-provider alerts test`" in status.out


def test_without_a_receiver_or_a_daemon_it_says_so(shell: Shell, journal: Any) -> None:
    journal()
    assert "control.no_daemon" in shell("alerts").err
    with Counter(shell.folder / "data"):
        answer = shell("alerts")
    assert (answer.code, "config.alerts" in answer.err) == (2, True)
