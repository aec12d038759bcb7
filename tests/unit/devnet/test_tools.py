"""Tools come from registries through clients that the tests replace by small programs on PATH."""

import asyncio
import base64
import hashlib
import platform
import tarfile
from pathlib import Path

import pytest

from ogpu_provider.devnet import tools
from ogpu_provider.devnet.tools import NpmPackage
from ogpu_provider.domain.errors import DevnetError

linux_amd64 = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="pinned for Linux x86_64"
)


def program(folder: Path, name: str, script: str) -> Path:
    file = folder / name
    file.write_text("#!/bin/sh\n" + script)
    file.chmod(0o755)
    return file


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, but for the shell's own programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cp", "sleep"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def package(tmp_path: Path, path: Path) -> NpmPackage:
    """A package `@x/tool` that the npm on PATH delivers."""
    content = tmp_path / "tool"
    content.write_text("#!/bin/sh\necho tool\n")
    tarball = tmp_path / "tool.tgz"
    with tarfile.open(tarball, "w:gz") as tar:
        tar.add(content, "package/bin/tool")
    program(
        path, "npm", f'echo asked >> {tmp_path}/asked\nfor last; do :; done\ncp {tarball} "$last"/x-tool-1.0.0.tgz\n'
    )
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    return NpmPackage("@x/tool", "1.0.0", f"sha512-{digest}")


async def test_a_package_is_fetched_once_and_executable(package: NpmPackage, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        tool = await tools.npm_file(package, "package/bin/tool", cache)
    assert tool == cache / "x-tool-1.0.0" / "tool"
    assert tool.stat().st_mode & 0o111
    assert (tmp_path / "asked").read_text().splitlines() == ["asked"]
    assert [entry.name for entry in tool.parent.iterdir()] == ["tool"]


async def test_many_may_ask_at_once(package: NpmPackage, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    found = await asyncio.gather(*(tools.npm_file(package, "package/bin/tool", cache) for _ in range(8)))
    assert len(set(found)) == 1
    assert [entry.name for entry in found[0].parent.iterdir()] == ["tool"]


async def test_another_content_than_the_pinned_one_is_refused_and_not_kept(package: NpmPackage, tmp_path: Path) -> None:
    other = NpmPackage(package.name, package.version, "sha512-" + "A" * 86 + "==")
    with pytest.raises(DevnetError) as caught:
        await tools.npm_file(other, "package/bin/tool", tmp_path / "cache")
    assert caught.value.code == "devnet.tool_changed"
    assert list((tmp_path / "cache").rglob("tool")) == []


async def test_without_npm_the_error_says_what_to_do(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DevnetError) as caught:
        await tools.npm_file(NpmPackage("x", "1.0.0", "sha512-"), "package/bin/tool", tmp_path / "cache")
    assert caught.value.code == "devnet.tool_missing"
    assert "npm" in caught.value.remedy


async def test_a_failing_npm_is_quoted(path: Path, tmp_path: Path) -> None:
    program(path, "npm", "echo the registry is on holiday\nexit 1\n")
    with pytest.raises(DevnetError, match="the registry is on holiday"):
        await tools.npm_file(NpmPackage("x", "1.0.0", "sha512-"), "package/bin/tool", tmp_path / "cache")


async def test_an_anvil_on_path_is_preferred(path: Path, tmp_path: Path) -> None:
    own = program(path, "anvil", "echo 'anvil Version: 1.5.0-stable'\n")
    assert await tools.ensure_anvil(tmp_path / "cache") == own


@linux_amd64
async def test_an_old_anvil_on_path_is_not_used(path: Path, tmp_path: Path) -> None:
    program(path, "anvil", "echo 'anvil 0.3.0'\n")
    with pytest.raises(DevnetError):  # goes on to npm, which is not there
        await tools.ensure_anvil(tmp_path / "cache")


@pytest.mark.parametrize(
    ("docker", "standalone", "expected"),
    [
        ("2.40.3", "2.40.3", ["docker", "compose"]),
        ("2.19.1", "v2.20.0", ["docker-compose"]),
        ("", "5.0.1", ["docker-compose"]),
    ],
)
async def test_compose_on_the_host_is_preferred(
    path: Path, tmp_path: Path, docker: str, standalone: str, expected: list[str]
) -> None:
    program(path, "docker", f"echo {docker}\n" if docker else "exit 1\n")
    program(path, "docker-compose", f"echo {standalone}\n")
    assert await tools.ensure_compose(tmp_path / "cache") == expected


@linux_amd64
async def test_an_old_compose_is_replaced_by_the_cached_one(path: Path, tmp_path: Path) -> None:
    program(path, "docker-compose", "echo 1.29.2\n")
    cached = tmp_path / "cache" / "compose-2.40.3"
    cached.mkdir(parents=True)
    own = program(cached, "docker-compose", "echo 2.40.3\n")
    assert await tools.ensure_compose(tmp_path / "cache") == [str(own)]
