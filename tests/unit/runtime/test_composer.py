"""The compose command, played by small shell scripts."""

from pathlib import Path

import pytest

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.runtime.composer import Command, Composer, discover


def program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


async def test_the_first_one_that_is_new_enough(tmp_path: Path) -> None:
    program(tmp_path / "docker", "echo 'unknown command' >&2; exit 1")
    new = program(tmp_path / "docker-compose", "echo v2.40.3-desktop.1")
    command = await discover(search_path=str(tmp_path))
    assert command.version >= (2, 20, 0)
    explicit = await discover([new])
    assert explicit == Command((new,), (2, 40, 3))


async def test_an_old_one_is_named_with_its_version(tmp_path: Path) -> None:
    old = program(tmp_path / "docker-compose", "echo 1.29.2")
    with pytest.raises(EngineError) as caught:
        await discover([old])
    assert caught.value.code == "engine.no_compose"
    assert "1.29.2" in str(caught.value)
    with pytest.raises(EngineError):
        await discover([str(tmp_path / "missing")])


async def test_it_sees_an_empty_environment(tmp_path: Path) -> None:
    words = program(tmp_path / "compose", "env > seen; echo $@ >> seen")
    composer = Composer(Command((words,), (2, 40, 0)), tmp_path / "home", "unix:///x.sock")
    await composer.run("name", tmp_path, "up", "--detach", seconds=10)
    *environment, arguments = (tmp_path / "seen").read_text().splitlines()
    names = {line.partition("=")[0] for line in environment} - {"PWD", "_", "SHLVL", "OLDPWD"}
    assert names == {
        "PATH",
        "HOME",
        "DOCKER_CONFIG",
        "DOCKER_HOST",
        "COMPOSE_DISABLE_ENV_FILE",
        "COMPOSE_EXPERIMENTAL_GIT_REMOTE",
        "COMPOSE_EXPERIMENTAL_OCI_REMOTE",
    }
    assert "--env-file /dev/null" in arguments
    assert list((tmp_path / "home").iterdir()) == []


async def test_failure_and_delay_are_errors_with_the_last_words(tmp_path: Path) -> None:
    failing = Composer(Command((program(tmp_path / "a", "echo no space; exit 3"),), (2, 40, 0)), tmp_path / "home")
    with pytest.raises(EngineError) as caught:
        await failing.run("name", tmp_path, "up", seconds=10)
    assert (caught.value.code, "no space" in str(caught.value)) == ("engine.start_failed", True)
    slow = Composer(Command((program(tmp_path / "b", "echo waiting; sleep 60"),), (2, 40, 0)), tmp_path / "home")
    with pytest.raises(EngineError) as caught:
        await slow.run("name", tmp_path, "up", seconds=0.3)
    assert (caught.value.code, "waiting" in str(caught.value)) == ("engine.start_timeout", True)
