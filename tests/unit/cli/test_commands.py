"""Exit codes, usage, settings, the gate and the keystore from the command line."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ogpu_provider.cli.main import exit_code
from ogpu_provider.domain.approval import Approval
from ogpu_provider.domain.errors import ComposeRefused, ConfigError, KeyRefused, ProviderError, RpcUnavailable
from ogpu_provider.domain.source import ServedSource, SourceState
from ogpu_provider.store.sqlite import SqliteStore
from tests.unit.cli.conftest import SOURCE, Shell

KEY = "0x" + "1f" * 32
GOOD = 'services:\n  s:\n    image: example.org/a/b:1@sha256:%s\n    ports: ["${PORT}:5555"]\n' % ("ab" * 32)


def test_exit_codes_tell_refusal_mistake_and_ignorance() -> None:
    assert exit_code(ComposeRefused("x")) == 1
    assert exit_code(KeyRefused("x")) == 1
    assert exit_code(ConfigError("x")) == 2
    assert exit_code(RpcUnavailable("x")) == 3
    assert exit_code(ProviderError("x")) == 3


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["tasks", "show"],
        ["tasks", "list", "--state", "happy"],
        ["tasks", "--jsn"],
        ["compose", "check", "x"],
        ["compose", "check", "x", "--environment", "gpu"],
        ["config", "explain", "no.such"],
        ["config", "show", "--config", "/no/such/file"],
    ],
)
def test_wrong_usage_is_2_with_a_remedy(shell: Shell, words: list[str]) -> None:
    answer = shell(*words, config=False)
    assert answer.code == 2
    assert answer.err.startswith("error [")
    assert "\nremedy: " in answer.err
    assert answer.out == ""


def test_help_and_version_are_good(shell: Shell) -> None:
    answer = shell("--help", config=False)
    assert answer.code == 0
    for name in ("run", "status", "tasks", "why", "sources", "keys", "config", "compose", "devnet", "demo"):
        assert f" {name} " in answer.out
    assert shell("--version", config=False).out.strip() == "0.1.0"


def test_help_imports_nothing_heavy() -> None:
    heavy = {"web3", "pydantic", "docker", "structlog", "eth_account", "httpx", "sqlite3", "starlette", "aiohttp"}
    start = "import sys; from ogpu_provider.cli.main import invoke; invoke(['--help'])"
    code = f"{start}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not heavy & set(done.stderr.split())


def test_the_incumbents_key_is_taken_out_and_not_repeated(shell: Shell) -> None:
    argv = [sys.executable, "-m", "ogpu_provider.cli.main", "config", "show", "--config", str(shell.config)]
    environ = {**os.environ, "PROVIDER_PRIVATE_KEY": KEY}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert "warning [key.environment]" in done.stderr
    assert "remedy: " in done.stderr
    assert KEY[2:] not in done.stdout + done.stderr


def test_config_shows_value_and_origin(shell: Shell) -> None:
    shell.config.write_text('[admission]\nmin_payment = "0.5"\n')
    shown = json.loads(shell("config", "show", "--json").out)
    assert shown["file"] == str(shell.config)
    assert shown["settings"]["admission.min_payment"] == {"value": "0.5", "origin": "file"}
    assert shown["settings"]["network.name"]["origin"] == "default"
    (one,) = json.loads(shell("config", "explain", "admission.min_payment", "--json").out)
    assert one["variable"] == "OGPU_PROVIDER_ADMISSION__MIN_PAYMENT"
    assert one["default"] == "0"
    assert "OGPU_PROVIDER_ADMISSION__MIN_PAYMENT" in shell("config", "explain", "admission").out


def test_a_good_compose_file_is_accepted(shell: Shell) -> None:
    file = shell.folder / "compose.yml"
    file.write_text(GOOD)
    answer = shell("compose", "check", str(file), "--environment", "cpu", "--json", config=False)
    found = json.loads(answer.out)
    assert (answer.code, found["accepted"], found["devices"]) == (0, True, 0)
    assert found["images"] == [f"example.org/a/b@sha256:{'ab' * 32}"]
    assert "accepted for" in shell("compose", "check", str(file), "--environment", "cpu", config=False).out


def test_a_hostile_compose_file_is_refused_with_line_and_remedy(shell: Shell) -> None:
    file = shell.folder / "compose.yml"
    file.write_text(GOOD + "    privileged: true\n    container_name: x\n")
    answer = shell("compose", "check", str(file), "--environment", "cpu", "--json", config=False)
    found = json.loads(answer.out)
    assert (answer.code, found["accepted"]) == (1, False)
    assert {(v["line"], v["key"]) for v in found["violations"]} == {
        (5, "services.s.privileged"),
        (6, "services.s.container_name"),
    }
    text = shell("compose", "check", str(file), "--environment", "cpu", config=False).out
    assert f"{file}:5: services.s.privileged: " in text
    assert "refused: 2 violations" in text


def test_what_would_run_is_shown_and_a_waiver_can_be_tried(shell: Shell) -> None:
    file = shell.folder / "compose.yml"
    file.write_text(GOOD + "    shm_size: 9g\n")
    words = ("compose", "check", str(file), "--environment", "cpu", "--json")
    refused = json.loads(shell(*words, config=False).out)
    assert (refused["accepted"], refused["rendered"]) == (False, None)
    assert set(refused["violations"][0]) == {"code", "key", "line", "message", "remedy"}
    waived = json.loads(shell(*words, "--waive", "compose.shm_size", config=False).out)
    assert waived["rendered"]["services"]["s"]["shm_size"] == 9 << 30


def test_a_file_is_approved_in_the_journal_while_no_daemon_runs(shell: Shell) -> None:
    async def journal() -> SqliteStore:
        (shell.folder / "data").mkdir(exist_ok=True)
        return await SqliteStore.open(shell.folder / "data" / "provider.db", chain_id=1071, provider=SOURCE)

    async def seen() -> None:
        store = await journal()
        await store.save_source(ServedSource(SOURCE, SourceState.UNFIT, compose_sha256="ab" * 32))
        await store.close()

    async def kept() -> Approval | None:
        store = await journal()
        try:
            return await store.approval(SOURCE)
        finally:
            await store.close()

    asyncio.run(seen())
    assert shell("sources", "approve", SOURCE, "--sha256", "cd" * 32).code == 1
    assert shell("sources", "approve", SOURCE, "--waive", "compose.privileged", "--reason", "x").code == 1
    assert asyncio.run(kept()) is None
    words = ("sources", "approve", SOURCE, "--waive", "compose.shm_size", "--reason", "large models", "--json")
    answer = shell(*words)
    assert (answer.code, json.loads(answer.out)["sha256"]) == (0, "ab" * 32)
    approval = asyncio.run(kept())
    assert approval is not None
    assert (approval.waived, approval.reason, approval.by_operator) == (("compose.shm_size",), "large models", True)


def test_an_unreadable_compose_file_is_no_answer(shell: Shell) -> None:
    assert shell("compose", "check", str(shell.folder), "--environment", "cpu", config=False).code == 3


def _pipe(text: str) -> str:
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    return str(reader)


def test_a_key_is_imported_shown_and_never_overwritten(shell: Shell) -> None:
    words = ("keys", "import", "--json")
    answer = shell(*words, "--key-fd", _pipe(KEY + "\n"), "--password-fd", _pipe("correct horse\n"))
    assert answer.code == 0
    address = json.loads(answer.out)["address"]
    keystore = shell.folder / "data" / "keystore.json"
    assert keystore.stat().st_mode & 0o777 == 0o600
    assert KEY[2:] not in answer.out + answer.err + keystore.read_text()
    assert json.loads(shell("keys", "show", "--json").out) == {"address": address, "keystore": str(keystore)}
    again = shell(*words, "--key-fd", _pipe(KEY), "--password-fd", _pipe("other"))
    assert again.code == 1
    assert "[key.exists]" in again.err


def test_a_password_that_is_given_counts_before_the_place_that_only_the_service_has(shell: Shell) -> None:
    with shell.config.open("a") as file:
        file.write('[wallet]\npassword_credential = "keystore-password"\n')
    assert shell("keys", "create", "--password-fd", _pipe("correct horse")).code == 0
    assert "[config.secret]" in shell("keys", "create").err


def test_the_gateway_has_a_key_of_its_own(shell: Shell) -> None:
    password = shell.folder / "word"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    with shell.config.open("a") as file:
        file.write(f'[gateway]\npassword_file = "{password}"\n')
    ours = json.loads(shell("keys", "create", "--account", "gateway", "--json").out)
    assert ours["keystore"] == str(shell.folder / "data" / "gateway-keystore.json")
    assert json.loads(shell("keys", "show", "--account", "gateway", "--json").out) == ours
    assert "[key.missing]" in shell("keys", "show").err, "and it is not the provider's"
    assert shell("keys", "show", "--account", "master").code == 2
    twice = shell("keys", "import", "--account", "gateway", "--key-fd", _pipe(KEY))
    assert (twice.code, "[key.exists]" in twice.err) == (1, True)


def test_a_malformed_key_is_refused_without_repeating_it(shell: Shell) -> None:
    answer = shell("keys", "import", "--key-fd", _pipe("0xdeadbeef"), "--password-fd", _pipe("p"))
    assert (answer.code, "deadbeef" in answer.err) == (1, False)
    assert not (shell.folder / "data" / "keystore.json").exists()


def test_a_key_is_made_with_the_password_the_daemon_will_use(shell: Shell) -> None:
    password = shell.folder / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    with shell.config.open("a") as file:
        file.write(f'[wallet]\npassword_file = "{password}"\n')
    made = json.loads(shell("keys", "create", "--json").out)
    assert made == json.loads(shell("keys", "show", "--json").out)


def test_without_a_terminal_nothing_is_asked(shell: Shell) -> None:
    argv = [sys.executable, "-m", "ogpu_provider.cli.main", "keys", "create", "--config", str(shell.config)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "[key.no_terminal]" in done.stderr


def test_a_lone_mistake_in_a_setting_names_the_file(shell: Shell, tmp_path: Path) -> None:
    shell.config.write_text("[execution]\nmax_run = -1\n")
    answer = shell("tasks")
    assert answer.code == 2
    assert f"{shell.config}: execution.max_run" in answer.err


def test_a_registry_at_a_port_of_its_own_is_refused_until_the_operator_lists_it(shell: Shell) -> None:
    file = shell.folder / "compose.yml"
    file.write_text(GOOD.replace("example.org/", "example.org:5000/"))
    words = ("compose", "check", str(file), "--environment", "cpu", "--json")
    refused = shell(*words, config=False)
    (violation,) = json.loads(refused.out)["violations"]
    assert (refused.code, violation["code"]) == (1, "compose.image_registry")
    assert "images.registries = [example.org:5000]" in violation["remedy"]
    assert shell(*words, "--registry", "example.org:5000", config=False).code == 0
    assert shell(*words, "--registry", "example.org:5001", config=False).code == 1
