"""Settings: where they come from, what is refused, and that nothing secret is repeated."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider import config
from ogpu_provider.choices import AdmissionRules
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.units import coin
from ogpu_provider.settings import Settings, Wallet

CHECKSUMMED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return file


def refusal(tmp_path: Path, text: str = "", **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.load(written(tmp_path, text), environ)
    return caught.value


def test_a_file_overrides_defaults_and_a_variable_overrides_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, '[network]\nname = "testnet"\nconfirmations = 7\n')
    loaded = config.load(file, {"OGPU_PROVIDER_NETWORK__CONFIRMATIONS": "9", "UNRELATED": "x"})
    assert loaded.settings.network.name == "testnet"
    assert loaded.settings.network.confirmations == 9
    assert loaded.settings.execution.response_margin == 10.0
    origins = {s.key: s.origin for s in loaded.explain()}
    assert origins["network.name"] == "file"
    assert origins["network.confirmations"] == "OGPU_PROVIDER_NETWORK__CONFIRMATIONS"
    assert origins["execution.response_margin"] == "default"


def test_every_setting_has_a_meaning_and_its_variable_is_accepted() -> None:
    for setting in config.load(Path(os.devnull), {}).explain():
        assert setting.meaning, setting.key
        assert setting.variable == "OGPU_PROVIDER_" + setting.key.replace(".", "__").upper()


def test_without_a_default_file_the_defaults_hold(tmp_path: Path) -> None:
    loaded = config.load(None, {"OGPU_PROVIDER_CONFIG": str(written(tmp_path, ""))})
    assert loaded.settings == Settings()
    assert loaded.settings.sources.serve == ()
    assert loaded.settings.keystore == loaded.settings.data_dir / "keystore.json"


def test_lists_come_from_toml_and_from_comma_separated_variables(tmp_path: Path) -> None:
    file = written(tmp_path, f'[sources]\nserve = ["{CHECKSUMMED.lower()}"]\n')
    loaded = config.load(file, {"OGPU_PROVIDER_SOURCES__DENY": f"{CHECKSUMMED}, {'0x' + '0' * 40}"})
    assert loaded.settings.sources.serve == (CHECKSUMMED,)
    assert loaded.settings.sources.deny == (CHECKSUMMED, "0x" + "0" * 40)
    everything = config.load(written(tmp_path, '[sources]\nserve = "all"\n'), {})
    assert everything.settings.sources.serve == "all"


@given(st.integers(min_value=0, max_value=10**28 - 1))
def test_an_amount_in_coin_loses_nothing(amount: int) -> None:
    assert AdmissionRules.model_validate({"min_payment": coin(amount)}).min_payment == amount


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[admission]\nmin_payment = 0.01\n", "admission.min_payment"),
        ('[admission]\nmin_payment = "-1"\n', "admission.min_payment"),
        ('[admission]\nmin_payment = "one"\n', "admission.min_payment"),
        ('[sources]\nserve = ["0x12"]\n', "sources.serve"),
        ('[sources]\nserve = ["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed"]\n', "checksum"),
        ('[network]\nname = "moon"\n', "network.name"),
        ('[network]\nrpc_url = "file:///etc/passwd"\n', "network.rpc_url"),
        ("[network]\nallow_private_urls = true\n", "devnet only"),
        ('[network]\nname = "devnet"\n', "rpc_url"),
        ('[runtime]\nengine = "processes"\n', "without isolation"),
        ("[execution]\nmax_run = 0\n", "execution.max_run"),
        ("[execution]\nmax_run = inf\n", "execution.max_run"),
        ('[runtime]\ninstance = "../x"\n', "runtime.instance"),
        ("network = 3\n", "network"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_place(tmp_path: Path, text: str, names: str) -> None:
    error = refusal(tmp_path, text)
    assert error.code == "config.invalid"
    assert names in str(error)
    assert "config.toml" in str(error)
    assert error.remedy


def test_typing_errors_are_found_in_file_and_environment(tmp_path: Path) -> None:
    error = refusal(tmp_path, "[netwrok]\nname = 1\n", OGPU_PROVIDER_LOGS__LEVLE="debug", OGPU_PROVIDER_DATADIR="/x")
    assert error.code == "config.unknown_key"
    assert "netwrok: no such setting" in str(error)
    assert "OGPU_PROVIDER_LOGS__LEVLE: logs.levle: no such setting" in str(error)
    assert "OGPU_PROVIDER_DATADIR: datadir: no such setting" in str(error)


def test_a_refused_value_is_never_repeated(tmp_path: Path) -> None:
    key = "0x" + "ab" * 32
    text = f'[wallet]\nprivate_key = "{key}"\npassword_fd = "{key}"\n[network]\nrpc_url = "{key}"\n'
    error = refusal(tmp_path, text, OGPU_PROVIDER_WALLET__KEYSTORE_PASSWORD=key)
    assert "ab" * 8 not in str(error)
    assert "wallet.private_key" in str(error)


def test_broken_files_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[network\n").code == "config.syntax"
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "none.toml", {})
    assert caught.value.code == "config.missing_file"
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, {})
    assert caught.value.code == "config.unreadable"


def test_explain_narrows_and_hides_an_endpoints_credentials(tmp_path: Path) -> None:
    file = written(tmp_path, '[network]\nrpc_url = "https://me:pw@node.example/v1?key=abc"\n')
    loaded = config.load(file, {})
    (setting,) = loaded.explain("network.rpc_url")
    assert setting.value == "https://…@node.example/v1?…"
    assert loaded.settings.network.rpc_url == "https://me:pw@node.example/v1?key=abc"
    several = '[network]\nrpc_urls = ["https://a.example/?key=abc", "wss://me:pw@b.example"]\n'
    (setting,) = config.load(written(tmp_path, several), {}).explain("network.rpc_urls")
    assert setting.value == ["https://a.example/?…", "wss://…@b.example"]
    assert {s.key.split(".")[0] for s in loaded.explain("network")} == {"network"}
    with pytest.raises(ConfigError) as caught:
        loaded.explain("netw")
    assert caught.value.code == "config.unknown_key"


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="other users"):
        config.wallet_password(Wallet(password_file=file), {})
    file.chmod(0o600)
    found = config.wallet_password(Wallet(password_file=file), {})
    assert found is not None
    assert found.reveal() == "correct horse"


def test_a_password_comes_from_a_descriptor_or_a_credential(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe\n")
    os.close(writer)
    found = config.wallet_password(Wallet(password_fd=reader), {})
    assert found is not None
    assert found.reveal() == "from a pipe"
    (tmp_path / "keystore").write_text("from systemd")
    wallet = Wallet(password_credential="keystore")
    found = config.wallet_password(wallet, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found is not None
    assert found.reveal() == "from systemd"
    with pytest.raises(ConfigError, match="no systemd credentials"):
        config.wallet_password(wallet, {})
    assert config.wallet_password(Wallet(), {}) is None


def test_an_empty_or_missing_password_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with pytest.raises(ConfigError) as caught:
        config.wallet_password(Wallet(password_file=file), {})
    assert caught.value.code == "config.secret"
    file.touch(mode=0o600)
    with pytest.raises(ConfigError, match="nothing"):
        config.wallet_password(Wallet(password_file=file), {})


def test_the_services_file_is_read_where_the_user_has_none(tmp_path: Path) -> None:
    service = tmp_path / "etc.toml"
    own = config.default_file(service)
    assert own.name == "config.toml"
    service.touch()
    assert config.default_file(service) == (own if own.exists() else service)
