"""What operators get wrong: a clear sentence with a code and a remedy, the state kept, nothing sent twice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.chain.networks import devnet
from ogpu_provider.devnet import accounts
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.environment import Secret
from ogpu_provider.keys import keystore
from ogpu_provider.keys.claim import claimed
from ogpu_provider.onboarding.sitting import HostFinding
from ogpu_provider.settings import Settings
from ogpu_provider.store.sqlite import SqliteStore
from tests.integration.onboarding.host import BareHost, fresh
from tests.integration.onboarding.replica import Replica
from tests.integration.onboarding.sit import Listener, answers, paired, refused, sit

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


class Empty(Replica):
    """A node of the same chain id on which there are no contracts."""

    async def _answer(self, method: str, params: list[Any], head: int) -> dict[str, Any]:
        return {"result": "0x"} if method == "eth_getCode" else await super()._answer(method, params, head)


async def test_a_wrong_password_keeps_the_keystore(host: BareHost) -> None:
    await refused(host, "pairing.waiting", wait=0.0)
    sealed = (host.folder / "data" / "keystore.json").read_bytes()
    await refused(host, "key.password", password=Secret("wrong"))
    assert (host.folder / "data" / "keystore.json").read_bytes() == sealed


@pytest.mark.parametrize(
    ("way", "text"), [("hex", "0xdeadbeef"), ("hex", "word " * 12), ("mnemonic", "word " * 11 + "wrod")]
)
async def test_a_malformed_key_leaves_no_keystore(host: BareHost, way: str, text: str) -> None:
    error = await refused(host, "key.malformed", key=way, secret=Secret(text))
    assert text.strip() not in str(error)
    assert not (host.folder / "data" / "keystore.json").exists()


async def test_a_wallets_file_that_is_none(host: BareHost, tmp_path: Path) -> None:
    path = tmp_path / "wallet.json"
    for text in ("", "{}", '{"version": 3, "crypto": []}', "[" * 5000):
        path.write_text(text)
        path.chmod(0o600)
        await refused(host, "key.malformed", key="keystore", foreign_keystore=path, foreign_password=Secret("x"))
    await refused(host, "key.missing", key="keystore", foreign_keystore=tmp_path / "none", foreign_password=Secret("x"))
    assert not (host.folder / "data" / "keystore.json").exists()


async def test_the_masters_key_in_place_of_the_providers(host: BareHost) -> None:
    await paired(host)
    other = await host.another("other", provider=host.master)
    assert "must not be on this host" in str(await refused(other, "key.masters", master=fresh().address))


async def test_a_journal_of_another_network(host: BareHost) -> None:
    folder = host.folder / "data"
    folder.mkdir(mode=0o700)
    store = await SqliteStore.open(folder / "provider.db", chain_id=1071, provider=host.provider.address)  # type: ignore[arg-type]
    await store.close()
    assert "chain 1071" in str(await refused(host, "store.other_chain"))


async def test_a_key_of_another_provider_than_the_journals(host: BareHost) -> None:
    folder = host.folder / "data"
    folder.mkdir(mode=0o700)
    store = await SqliteStore.open(folder / "provider.db", chain_id=200820172034, provider=fresh().address)  # type: ignore[arg-type]
    await store.close()
    await refused(host, "store.other_provider")


async def test_a_configuration_for_another_network(host: BareHost) -> None:
    host.config.write_text(host.config.read_text() + '[network]\nname = "testnet"\n')
    await refused(host, "register.other_network")


async def test_an_rpc_of_another_chain_writes_nothing(host: BareHost) -> None:
    before = host.config.read_text()
    error = await refused(host, "chain.wrong_network", network="mainnet")
    assert "200820172034" in str(error)
    assert host.config.read_text() == before


async def test_a_chain_of_the_right_number_without_the_contracts(host: BareHost) -> None:
    before = host.config.read_text()
    async with Empty(host.network.node.rpc_url, behind=0) as empty:
        assert "no contract at" in str(await refused(host, "chain.wrong_network", rpc_url=empty.url))
    assert host.config.read_text() == before


async def test_an_rpc_that_does_not_answer(host: BareHost) -> None:
    await refused(host, "chain.unavailable", rpc_url="http://127.0.0.1:9")


async def test_a_daemon_over_the_same_data(host: BareHost) -> None:
    folder = host.folder / "data"
    folder.mkdir(mode=0o700)
    store = await SqliteStore.open(folder / "provider.db", chain_id=200820172034, provider=host.provider.address)  # type: ignore[arg-type]
    assert "the daemon is running" in str(await refused(host, "store.locked"))
    await store.close()


async def test_a_daemon_with_the_same_key_over_other_data(host: BareHost) -> None:
    with claimed(devnet(host.network.describe()["rpc_url"]).scope, Address(host.provider.address)):
        await refused(host, "key.in_use")


async def test_master_and_provider_the_same_address(host: BareHost) -> None:
    await refused(host, "pairing.same_address", master=host.provider.address)
    path = host.folder / "master.json"
    await keystore.import_key(path, host.provider.private_key, "horse", rounds=4096)
    await refused(host, "pairing.same_address", master="", master_keystore=path, master_password=Secret("horse"))


@pytest.mark.parametrize("text", ["0x12", "vitalik.eth", "0x" + "Ab" * 20])
async def test_a_master_that_is_no_address(host: BareHost, text: str) -> None:
    await refused(host, "usage.address", master=text)


async def test_a_master_that_has_another_provider(host: BareHost) -> None:
    await paired(host)
    other = await host.another("other", master=host.master)
    await refused(other, "pairing.master_taken")


async def test_a_provider_that_has_another_master(host: BareHost) -> None:
    await paired(host)
    await refused(host, "pairing.other_master", master=fresh().address)


async def test_signed_for_another_provider_then_rightly(host: BareHost) -> None:
    stranger = fresh().address
    waiting = asyncio.create_task(refused(host, "pairing.other_values"))
    await asyncio.sleep(1.5)
    await host.announce(provider=stranger)
    assert stranger in str(await waiting)
    assert (await host.said()) == {}
    done = asyncio.create_task(sit(host, answers(host, wait=20.0)))
    await asyncio.sleep(1.5)
    await host.announce()
    await done
    assert await host.said() == {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Locked": 1}


async def test_signed_by_another_master(host: BareHost) -> None:
    stranger = fresh()
    await host.fund(stranger.address, 200 * COIN)
    waiting = asyncio.create_task(refused(host, "pairing.other_values"))
    await asyncio.sleep(1.5)
    await host.announce(by=stranger)
    assert stranger.address in str(await waiting)


async def test_signed_with_another_amount_is_said_and_made_up_for(host: BareHost) -> None:
    await host.fund(host.provider.address, 60 * COIN)
    talk = Listener()
    done = asyncio.create_task(sit(host, answers(host, wait=20.0), talk))
    await asyncio.sleep(1.5)
    await host.announce(value=70 * COIN)
    await done
    assert any("other values than were printed" in text for text in talk.said)
    assert await host.ask("Vault", "lockupOf", host.provider.address) == 100 * COIN
    assert await host.said() == {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Locked": 2, "Deposited": 1}


async def test_a_declined_transaction_is_not_sent(host: BareHost) -> None:
    await host.announce()
    await refused(host, "register.declined", Listener(declines=("Send it with the provider's key?",)))


async def test_sources_that_cannot_be_served(host: BareHost, source: str) -> None:
    await paired(host)
    await refused(host, "source.unknown", sources=(accounts.role("client").address,))
    await refused(host, "source.environment", sources=(source,), environment="nvidia")
    await refused(host, "usage.environment", sources=(source,), environment="gpu")
    await refused(host, "usage.address", sources=("first",))
    assert "[sources]" not in host.config.read_text()


async def test_an_inactive_source(host: BareHost, retired: str) -> None:
    await paired(host)
    await refused(host, "source.inactive", sources=(retired,))


async def test_a_host_with_errors_goes_on_only_when_told(host: BareHost) -> None:
    async def examine(_: Settings) -> list[HostFinding]:
        return [HostFinding("engine.version", "error", "Docker 19", "upgrade it")]

    with pytest.raises(ProviderError) as caught:
        await sit(host, answers(host), examine=examine)
    assert caught.value.code == "host.errors"
    await host.announce()
    await sit(host, answers(host, accept_warnings=True), examine=examine)


async def test_the_daemon_may_be_left_to_register(host: BareHost, source: str) -> None:
    await host.announce()
    await sit(host, answers(host, sources=(source,), register_now=False))
    assert source in host.config.read_text()
    assert "Registered" not in await host.said()


async def test_keys_from_a_phrase_a_wallets_file_and_the_incumbent(host: BareHost, tmp_path: Path) -> None:
    other = await host.another("phrase")
    phrase = Secret(f" {accounts.MNEMONIC} \n")
    await refused(other, "pairing.waiting", key="mnemonic", secret=phrase, account_index=15, wait=0.0)
    assert keystore.address_of(other.folder / "data" / "keystore.json") == accounts.account(15).address
    exported = tmp_path / "exported.json"
    await keystore.import_key(exported, host.provider.private_key, "of the wallet", rounds=4096)
    await refused(host, "key.password", key="keystore", foreign_keystore=exported, foreign_password=Secret("no"))
    await refused(
        host,
        "pairing.waiting",
        key="keystore",
        foreign_keystore=exported,
        foreign_password=Secret("of the wallet"),
        wait=0.0,
    )
    assert keystore.address_of(host.folder / "data" / "keystore.json") == host.provider.address
    assert exported.exists()


async def test_the_incumbents_key_is_imported_once(host: BareHost) -> None:
    words = [
        word for word in host.flags("--json") if word not in ("--key", "hex", "--key-file", str(host.folder / "key"))
    ]
    words[words.index("--wait") + 1] = "0"
    key = host.provider.private_key
    done = await host.run(*words, environ={"PROVIDER_PRIVATE_KEY": key})
    assert (done.code, "[pairing.waiting]" in done.err, "[key.environment]" in done.err) == (3, True, True)
    assert key[2:] not in done.out + done.err
    assert done.document["done"] is False
    assert done.document["error"]["code"] == "pairing.waiting"
    assert [step["step"] for step in done.document["steps"]] == ["network", "key", "host"]
    assert keystore.address_of(host.folder / "data" / "keystore.json") == host.provider.address


async def test_numbers_that_are_none_of_the_list(host: BareHost, source: str, dear: str) -> None:
    await paired(host)
    for text, code in (("0", "usage.source"), ("99", "usage.source"), ("one", "usage.source"), ("1,x", "usage.source")):
        await refused(host, code, Listener(picks=text), sources=None)
    assert "[sources]" not in host.config.read_text()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--lockup", "-1"), "usage.amount"),
        (("--lockup", "much"), "usage.amount"),
        (("--key-fd", "99"), "config.secret"),
        (("--key-file", "/nowhere"), "config.secret"),
        (("--password-file", "{open}"), "config.secret"),
        (("--password-file", "{empty}"), "config.secret"),
        (("--password-credential", "word"), "config.secret"),
        (("--network", "ethereum"), "usage.network"),
        (("--key", "card"), "usage.key"),
        (("--from-keystore", "/nowhere", "--key", "keystore", "--from-password-file", "{word}"), "key.missing"),
        (("--master-keystore", "/nowhere"), "key.missing"),
        (("--wait", "long"), "usage"),
    ],
)
async def test_flags_that_cannot_be(host: BareHost, words: tuple[str, ...], code: str) -> None:
    files = {name: str(host.file(name, text)) for name, text in (("open", "x"), ("empty", ""), ("word", "horse"))}
    Path(files["open"]).chmod(0o644)
    filled = [word.format(**files) for word in words]
    plain = list(host.flags())
    for flag in words[::2]:
        twin = {"--key-fd": "--key-file", "--password-credential": "--password-file", "--master-keystore": "--master"}
        if (name := twin.get(flag, flag)) in plain:
            del plain[plain.index(name) : plain.index(name) + 2]
    done = await host.run(*plain, *filled)
    assert (done.code, f"[{code}]" in done.err) == (1 if code.startswith("key.") else 2, True), done
    assert "remedy: " in done.err
    assert "Traceback" not in done.err
    assert await host.nonce() == 0


async def test_nobody_to_ask(host: BareHost) -> None:
    error = await refused(host, "usage.no_answer", master="")
    assert "--master" in error.remedy
