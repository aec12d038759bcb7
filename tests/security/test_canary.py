"""The search finds what it is there to find, wherever it is put."""

import base64
import json
import secrets
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ogpu_provider.devnet import accounts
from tests.canary import Canary, known_keys_below

KEY, PASSWORD = secrets.token_bytes(32), f"correct horse {secrets.token_hex(8)}"
CANARY = Canary(KEY, PASSWORD)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (f"key=0x{KEY.hex()}".encode(), "hex"),
        (KEY.hex().upper().encode(), "upper-case hex"),
        (b"\0\1" + KEY + b"\2", "bytes"),
        (KEY[::-1], "bytes"),
        (f"SecretKey({KEY!r})".encode(), "bytes"),
        (json.dumps({"key": list(KEY)}).encode(), "bytes"),
        (json.dumps(list(KEY), separators=(",", ":")).encode(), "bytes"),
        (json.dumps({"d": int.from_bytes(KEY, "big")}).encode(), "decimal"),
        (PASSWORD.encode(), "password"),
        (base64.b64encode(b"user:" + PASSWORD.encode()), "password"),
        *((base64.b64encode(b"x" * n + KEY + b"tail"), "base64") for n in range(3)),
        *((base64.urlsafe_b64encode(b"x" * n + KEY + b"tail"), "base64url") for n in range(3)),
    ],
    ids=lambda value: value if isinstance(value, str) else "text",  # the same in every process
)
def test_it_is_found_in_every_encoding(text: bytes, encoding: str) -> None:
    assert encoding in CANARY.found(b"before" + text + b"after")


def test_it_is_found_in_a_database_and_its_log_beside_other_files(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "provider.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE results (body BLOB)")
    connection.execute("INSERT INTO results VALUES (?)", (b"x" * 5000 + KEY,))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "daemon.log").write_text("nothing\n" + KEY.hex())
    (tmp_path / "skipped").mkdir()
    (tmp_path / "skipped" / "key").write_text(KEY.hex())
    found = CANARY.found_below(tmp_path, skipped=frozenset({tmp_path / "skipped"}))
    assert {Path(path).name for path in found} == {"provider.db-wal", "daemon.log"}
    connection.close()
    assert str(tmp_path / "provider.db") in CANARY.found_below(tmp_path)


def test_a_key_of_the_suite_is_found_but_in_what_the_network_itself_says(tmp_path: Path) -> None:
    key = accounts.role("provider").private_key
    (tmp_path / "node.log").write_text(f"{accounts.MNEMONIC}\n(2) {key}")
    (tmp_path / "given").write_text(f"{key}\n")
    assert known_keys_below(tmp_path) == {}
    (tmp_path / "daemon.log").write_text(f"opened {key}")
    assert known_keys_below(tmp_path) == {str(tmp_path / "daemon.log"): ["provider: hex"]}
    (tmp_path / "daemon.log").unlink()  # or this very run would end with it


def test_it_is_found_in_the_environment_and_the_command_line_of_a_process() -> None:
    sleep = "import sys; print(flush=True); sys.stdin.read()"
    for words, variables in (((KEY.hex(),), {}), ((), {"SECRET": KEY.hex()})):
        process = subprocess.Popen(
            [sys.executable, "-c", sleep, *words], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        assert [name.split("/")[2] for name in CANARY.found_in_processes()] == [str(process.pid)]
        process.communicate()
    assert CANARY.found_in_processes() == {}
    assert CANARY.found_in_json({"a": {"Env": [f"K={KEY.hex()}"]}, "b": {}}) == {"a": ["hex"]}
