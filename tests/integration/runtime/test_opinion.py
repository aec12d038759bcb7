"""The second opinion with the real compose command, and with one that lies."""

from dataclasses import replace
from pathlib import Path

import pytest

from ogpu_provider.devnet.tools import ensure_compose
from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.allowlist import strays
from ogpu_provider.runtime.compose.opinion import differences
from ogpu_provider.runtime.composer import Command, Composer, discover
from tests.rendered import FULL, plan_of
from tests.runtime_host import Host

pytestmark = pytest.mark.docker
SOURCE = Address("0x" + "5E" * 20)
OFFICIAL = sorted((Path(__file__).parents[2] / "security" / "official").glob("*.yml"))


@pytest.mark.parametrize("path", [None, *OFFICIAL], ids=lambda path: path.stem if path else "every key")
async def test_compose_understands_what_we_render_as_we_do(tmp_path: Path, path: Path | None) -> None:
    text = path.read_bytes() if path else FULL
    environment = Environment[path.stem.rpartition("-")[2].upper()] if path else Environment.CPU
    plan = plan_of(text, environment, waived=frozenset({"compose.bind_mount"}))
    (tmp_path / "compose.json").write_bytes(plan.text)
    composer = Composer(await discover(await ensure_compose()), tmp_path / "home")
    opinion = await composer.read(plan.name, tmp_path)
    assert differences(plan, opinion) == ()
    assert strays(opinion) == ()


async def test_a_compose_that_understands_more_is_not_let_near_the_engine(
    host: Host, image: str, tmp_path: Path
) -> None:
    """What a new version could make of a key: the project is refused before anything is created."""
    liar = tmp_path / "compose"
    real = " ".join(host.composer.command.words)
    liar.write_text(
        f'#!/bin/sh\n{real} "$@" || exit\n'
        "while [ $# -gt 1 ]; do shift; done\n"
        'case $1 in *opinion.json) sed -i \'s/"init": true/"init": true, "privileged": true/\' $1;; *) touch '
        f"{tmp_path}/used;; esac\n"
    )
    liar.chmod(0o755)
    composer = Composer(Command((str(liar),), (2, 40, 0)), tmp_path / "home")
    projects = replace(host, composer=composer).projects()
    compose = f'services: {{app: {{image: "{image}", ports: ["${{PORT}}:5555"]}}}}'.encode()
    with pytest.raises(EngineError) as caught:
        await projects.up(ProjectSpec(SOURCE, Environment.CPU, compose))
    assert (caught.value.code, caught.value.retry) == ("engine.second_opinion", Retry.NEVER)
    assert "services.app.privileged was added" in str(caught.value)
    assert not (tmp_path / "used").exists()
