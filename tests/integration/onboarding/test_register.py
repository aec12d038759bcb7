"""`ogpu-provider register` on a real chain: from nothing to registered, cut off anywhere, nothing ever twice."""

import tomllib

import pytest

from tests.integration.onboarding.host import BareHost, shell

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]
ONCE = {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Registered": 1, "Locked": 1}


async def test_the_printed_transaction_signed_elsewhere_pairs_and_the_rest_follows(host: BareHost, source: str) -> None:
    host.config.chmod(0o640)
    done = await host.signed_by_master(*host.flags("--source", source))
    assert done.code == 0, done.err
    assert await host.ask("Terminal", "masterOf", host.provider.address) == host.master.address
    assert await host.said() == ONCE
    settings = tomllib.loads(host.config.read_text())
    assert settings["sources"]["serve"] == [source]
    assert settings["admission"] == {"min_payment": "0.001"}
    assert "# mine" in host.config.read_text()
    assert host.config.stat().st_mode & 0o777 == 0o640
    assert host.provider.private_key[2:] not in done.out + done.err + host.config.read_text()
    again = await host.run(*host.flags("--source", source, "--json"))
    assert again.code == 0
    assert {step["state"] for step in again.document["steps"][:-1]} <= {"already", "skipped"}
    assert await host.said() == ONCE


async def test_secrets_from_descriptors_and_from_systemds_credentials(host: BareHost) -> None:
    """No secret is in an argument, in a variable, in what is said, or in the settings; only where it is kept."""
    flags = list(host.flags("--wait", "0"))
    for flag in ("--key-file", "--password-file"):
        del flags[flags.index(flag) : flags.index(flag) + 2]
    descriptors = ("--key-fd", "4", "--password-fd", "3", f"3<{host.folder / 'word'}", f"4<{host.folder / 'key'}")
    made = await shell(" ".join((*flags, *descriptors)))
    assert (made.code, "[pairing.waiting]" in made.err) == (3, True), made
    await host.reseal("horse")
    credential = {"CREDENTIALS_DIRECTORY": str(host.folder)}
    opened = await host.run(*flags, "--password-credential", "word", environ=credential)
    assert (opened.code, "[pairing.waiting]" in opened.err) == (3, True), opened
    settings = tomllib.loads(host.config.read_text())
    assert settings["wallet"] == {"password_credential": "word"}
    assert not (host.folder / "data" / "password").exists()
    said = made.out + made.err + opened.out + opened.err + host.config.read_text()
    assert "horse" not in said
    assert host.provider.private_key[2:] not in said
