"""Settings are changed in place; what an operator wrote stays."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpu_provider.configfile import amend
from ogpu_provider.domain.errors import ConfigError

WRITTEN = """# my provider
data_dir = "/var/lib/x"  # a disk of its own

[network]
name = "testnet"

[sources]
serve = [
  "0x01",  # the good one
  "0x02",
]
deny = ["0x03"]
"""


def test_a_new_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    assert amend(path, {"network.name": "devnet", "network.confirmations": 1, "data_dir": "/x"})
    assert tomllib.loads(path.read_text()) == {"data_dir": "/x", "network": {"name": "devnet", "confirmations": 1}}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not amend(path, {"network.name": "devnet"})


def test_comments_order_and_other_settings_stay(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(WRITTEN)
    amend(path, {"sources.serve": ["0x01", "0x04"], "network.rpc_url": "http://x/?a=[1]", "wallet.password_fd": 3})
    text = path.read_text()
    assert text.startswith("# my provider\n")
    assert "# a disk of its own" in text
    found = tomllib.loads(text)
    assert found["sources"] == {"serve": ["0x01", "0x04"], "deny": ["0x03"]}
    assert found["network"] == {"name": "testnet", "rpc_url": "http://x/?a=[1]"}
    assert found["wallet"] == {"password_fd": 3}
    amend(path, {"wallet.password_fd": None})
    assert tomllib.loads(path.read_text())["wallet"] == {}


@pytest.mark.parametrize("text", ['network = { name = "testnet" }\n', 'network.name = "testnet"\n'])
def test_what_cannot_be_changed_safely_is_left_to_the_operator(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        amend(path, {"network.name": "devnet"})
    assert caught.value.code == "config.unchanged"
    assert path.read_text() == text


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[network\n")
    with pytest.raises(ConfigError, match=r"config\.toml"):
        amend(path, {"network.name": "devnet"})


VALUES = st.one_of(st.text(max_size=20), st.integers(-(2**60), 2**60), st.booleans(), st.lists(st.text(max_size=8)))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b.c", "b.d", "sources.serve", "e.f"]), VALUES, max_size=5))
def test_whatever_is_written_is_read_again(changes: dict[str, object]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(WRITTEN)
        amend(path, changes)  # type: ignore[arg-type]
        found = tomllib.loads(path.read_text())
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            assert (found[section] if section else found)[name] == value
        assert found["network"] == {"name": "testnet"}
