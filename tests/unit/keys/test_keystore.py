import asyncio
import json
import os
import stat
from pathlib import Path

import pytest
from eth_account import Account

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.keys import keystore
from ogpu_provider.keys.keystore import address_of, create, import_key, unlock

ROUNDS = 4096
KEY = "ab" * 32


async def code_of(path: Path, password: str = "pw") -> str:
    with pytest.raises(KeyRefused) as caught:
        await unlock(path, password)
    assert caught.value.args[0]
    return caught.value.code


async def test_a_new_key_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "provider.json"
    old = os.umask(0)
    try:
        address = await create(path, "pw", rounds=ROUNDS)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [f.name for f in path.parent.iterdir()] == ["provider.json"]
    assert (await unlock(path, "pw")).address == address == address_of(path)
    assert (await create(tmp_path / "other.json", "pw", rounds=ROUNDS)) != address


async def test_an_imported_key_is_the_same_key_and_stays_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    assert await import_key(path, "0x" + KEY, "pw", rounds=ROUNDS) == Account.from_key(KEY).address
    assert KEY not in path.read_text().lower()
    assert bytes(Account.decrypt(json.loads(path.read_text()), "pw")).hex() == KEY
    with pytest.raises(KeyRefused) as caught:
        await import_key(tmp_path / "l.json", "nonsense", "pw")
    assert caught.value.code == "key.malformed"


async def test_a_keystore_of_another_program_opens(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text(json.dumps(Account.encrypt(bytes.fromhex(KEY), "pw", kdf="pbkdf2", iterations=1000)))
    path.chmod(0o600)
    assert (await unlock(path, "pw")).address == Account.from_key(KEY).address


async def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    await create(path, "pw", rounds=ROUNDS)
    before = path.read_bytes()
    with pytest.raises(KeyRefused) as caught:
        await create(path, "pw", rounds=ROUNDS)
    assert caught.value.code == "key.exists"
    assert path.read_bytes() == before


async def test_of_two_at_once_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    made = await asyncio.gather(*(create(path, "pw", rounds=ROUNDS) for _ in range(2)), return_exceptions=True)
    winners = [m for m in made if isinstance(m, str)]
    losers = [m for m in made if isinstance(m, KeyRefused)]
    assert (len(winners), len(losers)) == (1, 1)
    assert (await unlock(path, "pw")).address == winners[0]


async def test_an_empty_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused) as caught:
        await create(tmp_path / "k.json", "", rounds=ROUNDS)
    assert caught.value.code == "key.no_password"
    assert list(tmp_path.iterdir()) == []


async def test_each_failure_has_its_code(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    assert await code_of(path) == "key.missing"
    await create(path, "pw", rounds=ROUNDS)
    assert await code_of(path, "other") == "key.password"
    for mode in (0o644, 0o640, 0o604, 0o660):
        path.chmod(mode)
        assert await code_of(path) == "key.permissions"
    path.chmod(0o600)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    assert await code_of(link) == "key.permissions"
    tmp_path.chmod(0o777)
    assert await code_of(path) == "key.permissions"
    tmp_path.chmod(0o700)
    sealed = json.loads(path.read_text())
    for damaged in ("", "[]", "{}", "[" * 50_000, json.dumps({**sealed, "version": 1}), " " * 70_000):
        path.write_text(damaged)
        assert await code_of(path) == "key.malformed"
    path.write_text(json.dumps({**sealed, "crypto": {**sealed["crypto"], "kdf": "none"}}))
    assert await code_of(path) == "key.malformed"
    path.write_text(json.dumps({**sealed, "address": "11" * 20}))
    assert await code_of(path) == "key.malformed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    await create(path, "pw", rounds=ROUNDS)
    os.chown(path, 12345, 12345)
    assert await code_of(path) == "key.owner"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_root_opens_a_services_keystore_in_the_services_own_folder(tmp_path: Path) -> None:
    path = tmp_path / "data" / "k.json"
    address = await create(path, "pw", rounds=ROUNDS)
    for mine in (path, path.parent):
        os.chown(mine, 12345, 12345)
    assert (await unlock(path, "pw")).address == address
    os.chown(path, 54321, 54321)
    assert await code_of(path) == "key.owner"


async def test_a_missing_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyRefused) as caught:
        await create(tmp_path / "file" / "k.json", "pw", rounds=ROUNDS)
    assert caught.value.code == "key.unwritable"


def test_a_guess_is_expensive() -> None:
    assert keystore.ROUNDS >= 2**18
