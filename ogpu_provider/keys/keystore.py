"""Keystore V3 files: made once, never overwritten, opened only where nobody else could have read or changed them."""

import asyncio
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.signer import SecretKey

ROUNDS = 262_144
"""scrypt's n: about half a second and 256 MiB for every guess."""

_LIMIT = 64 * 1024
_PUBLIC = stat.S_IRWXG | stat.S_IRWXO


async def create(path: Path, password: str, *, rounds: int = ROUNDS) -> Address:
    """Make a new key. The file is 0600 and its directory, if new, 0700.

    Raises KeyRefused: key.exists, key.no_password, key.unwritable.
    """
    return await asyncio.to_thread(_store, path, SecretKey(Account.create()), password, rounds)


async def import_key(path: Path, key: str, password: str, *, rounds: int = ROUNDS) -> Address:
    """Keep a key given as 64 hex digits. Raises KeyRefused like `create`, and key.malformed."""
    return await asyncio.to_thread(_store, path, SecretKey.from_hex(key), password, rounds)


async def import_mnemonic(path: Path, words: str, index: int, password: str, *, rounds: int = ROUNDS) -> Address:
    """Keep account `index` of a BIP-39 phrase (m/44'/60'/0'/0/index). Raises KeyRefused like `import_key`."""
    return await asyncio.to_thread(lambda: _store(path, SecretKey.from_mnemonic(words, index), password, rounds))


async def import_keystore(path: Path, foreign: Path, opens: str, password: str, *, rounds: int = ROUNDS) -> Address:
    """Keep the key of another keystore under a password of its own; the other file stays as it is.

    Raises KeyRefused like `import_key` and `unlock`.
    """
    key = await unlock(foreign, opens)
    return await asyncio.to_thread(_store, path, key, password, rounds)


async def unlock(path: Path, password: str) -> SecretKey:
    """Open a keystore; takes about half a second.

    Raises KeyRefused: key.missing, key.permissions, key.owner, key.malformed, key.password.
    """
    return await asyncio.to_thread(_unlock, path, password)


def address_of(path: Path) -> Address | None:
    """The address that a keystore names, without its password; None if it names none. Raises like `unlock`."""
    named = _load(path).get("address")
    if not isinstance(named, str):
        return None
    try:
        return Address(to_checksum_address(named))
    except ValueError:
        raise _malformed(path) from None


def _store(path: Path, key: SecretKey, password: str, rounds: int) -> Address:
    if not password:
        raise KeyRefused("an empty password protects nothing", code="key.no_password", remedy="choose one")
    if path.exists():
        raise _exists(path)
    body = json.dumps(key.encrypted(password, rounds)).encode()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(temporary, body)
        try:
            os.link(temporary, path)  # unlike a rename, fails if somebody was first
        except FileExistsError:
            raise _exists(path) from None
        finally:
            temporary.unlink()
        _sync_directory(path.parent)
    except OSError as error:
        raise KeyRefused(
            f"{path}: {error.strerror}", code="key.unwritable", remedy=f"see owner, mode and room of {path.parent}"
        ) from error
    return key.address


def _write(path: Path, body: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlock(path: Path, password: str) -> SecretKey:
    sealed = _load(path)
    try:
        raw = Account.decrypt(sealed, password)
    except ValueError:  # with a sound structure only the MAC can disagree
        raise KeyRefused(
            f"the password does not open {path}",
            code="key.password",
            remedy="try again with the right one; the file is as it was, and nothing else opens it",
        ) from None
    except Exception:
        raise _malformed(path) from None
    key = SecretKey.from_hex(bytes(raw).hex())
    named = sealed.get("address")
    if isinstance(named, str) and named.lower().removeprefix("0x") != key.address.lower().removeprefix("0x"):
        raise KeyRefused(
            f"{path} names {named} but holds the key of {key.address}",
            code="key.malformed",
            remedy="somebody changed it: restore it from its copy, or import the key again",
        )
    return key


def _load(path: Path) -> dict[str, Any]:
    """Check and read through one descriptor, so that what was checked is what is read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise KeyRefused(
            f"there is no keystore at {path}",
            code="key.missing",
            remedy="make it: `ogpu-provider register`, or `ogpu-provider keys create` (the gateway: --account gateway)",
        ) from None
    except OSError as error:
        raise KeyRefused(
            f"{path}: {error.strerror}", code="key.permissions", remedy="name a file that this user owns, and no link"
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        _check(path, os.fstat(descriptor))
        body = file.read(_LIMIT + 1)
    try:
        sealed = json.loads(body)
        sound = sealed["version"] == 3 and {"cipher", "ciphertext", "kdf", "kdfparams", "mac"} <= set(sealed["crypto"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _malformed(path) from None
    if not sound or len(body) > _LIMIT:
        raise _malformed(path)
    found: dict[str, Any] = sealed
    return found


def _check(path: Path, file: os.stat_result) -> None:
    folder = path.parent.stat()
    if not stat.S_ISREG(file.st_mode):
        raise KeyRefused(f"{path} is not a file", code="key.permissions", remedy="name the keystore's JSON file")
    if file.st_mode & _PUBLIC:
        raise KeyRefused(
            f"{path} has mode {stat.S_IMODE(file.st_mode):04o}: others can reach it",
            code="key.permissions",
            remedy=f"chmod 600 {path}, and think about who may have read it",
        )
    trusted = {0, os.geteuid()}
    if os.geteuid() == 0:
        trusted.add(folder.st_uid)  # root works for the service, whose directory this is
    for status, what in ((file, path), (folder, path.parent)):
        if status.st_uid not in trusted:
            raise KeyRefused(f"{what} belongs to user {status.st_uid}", code="key.owner", remedy=f"chown it: {what}")
    if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not folder.st_mode & stat.S_ISVTX:
        raise KeyRefused(
            f"others can write in {path.parent}", code="key.permissions", remedy=f"chmod 700 {path.parent}"
        )


def _exists(path: Path) -> KeyRefused:
    return KeyRefused(
        f"{path} is there already and is never overwritten",
        code="key.exists",
        remedy="use the key that is there (`ogpu-provider keys show`), or name another file in wallet.keystore",
    )


def _malformed(path: Path) -> KeyRefused:
    return KeyRefused(
        f"{path} is not a V3 keystore", code="key.malformed", remedy="give the JSON file that a wallet exports"
    )
