"""Whatever starts with a key asks first whether another process of the host has it, over whichever data."""

from pathlib import Path

import pytest

from ogpu_provider import config, daemon
from ogpu_provider.chain.networks import MAINNET, TESTNET, devnet
from ogpu_provider.devnet.accounts import account
from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.units import Address
from ogpu_provider.gateway import process as gateway
from ogpu_provider.keys import keystore
from ogpu_provider.keys.claim import claimed
from ogpu_provider.settings import Settings

NOWHERE = "http://127.0.0.1:9"
"""Nobody is asked anything before the key is ours."""


async def settings_in(folder: Path) -> tuple[Settings, Address]:
    folder.mkdir()
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text("secret")
    known = account(17)
    await keystore.import_key(folder / "keystore.json", known.private_key, "secret", rounds=2)
    file = folder / "config.toml"
    file.write_text(
        f'data_dir = "{folder}"\n[network]\nname = "devnet"\nrpc_url = "{NOWHERE}"\n'
        f'[wallet]\nkeystore = "{folder / "keystore.json"}"\npassword_file = "{password}"\n'
        f'[gateway]\nkeystore = "{folder / "keystore.json"}"\npassword_file = "{password}"\n'
    )
    file.chmod(0o600)
    return config.load(file, {}).settings, Address(known.address)


@pytest.mark.parametrize("run", [daemon.run, gateway.run])
async def test_a_second_one_does_not_start(tmp_path: Path, run: object) -> None:
    settings, address = await settings_in(tmp_path / "second")
    with claimed(devnet(NOWHERE).scope, address), pytest.raises(KeyRefused) as caught:
        await run(settings)  # type: ignore[operator]
    assert caught.value.code == "key.in_use"


def test_a_public_network_is_one_chain_through_every_endpoint_and_each_devnet_its_own() -> None:
    assert MAINNET.at(http_url=NOWHERE).scope == MAINNET.scope == "1071"
    scopes = {MAINNET.scope, TESTNET.scope, devnet(NOWHERE).scope, devnet("http://127.0.0.1:10").scope}
    assert len(scopes) == 4
    assert devnet(NOWHERE, "ws://127.0.0.1:9").scope == devnet(NOWHERE).scope
