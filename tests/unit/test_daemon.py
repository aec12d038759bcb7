"""A daemon that cannot start leaves its reason where `status` finds it."""

from pathlib import Path

import pytest

from ogpu_provider import config, daemon
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.keys import keystore
from ogpu_provider.store.reader import open_readonly


async def test_why_a_daemon_could_not_start_is_kept(tmp_path: Path) -> None:
    word, file = tmp_path / "word", tmp_path / "config.toml"
    word.touch(mode=0o600)
    word.write_text("horse")
    await keystore.create(tmp_path / "keystore.json", "horse", rounds=4096)
    file.write_text(f"""data_dir = "{tmp_path}"
[network]
name = "devnet"
rpc_url = "http://127.0.0.1:9"
[wallet]
password_file = "{word}"
[runtime]
compose = ["{tmp_path}/no-compose"]
""")
    file.chmod(0o600)
    with pytest.raises(EngineError, match="no compose"):
        await daemon.run(config.load(file).settings)
    reader = await open_readonly(tmp_path / "provider.db")
    kept = (await reader.meta())["ended"]
    await reader.close()
    assert kept.startswith("engine.no_compose: no compose of version")
