"""A host that somebody describes in a file, for `simulate --host`."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment
from ogpu_provider.values import Section


class Cards(Section):
    environment: Literal["nvidia", "amd"]
    name: str = Field(min_length=1)
    memory_gib: float = Field(gt=0, le=1 << 20)
    count: int = Field(1, ge=1, le=1024)


class Description(Section):
    cpu_slots: int = Field(ge=1, le=4096)
    devices: list[Cards] = Field(default_factory=list)


def read(path: Path) -> Host:
    """`cpu_slots`, and a `[[devices]]` for each kind of card. Raises ConfigError, which says what is wrong where."""
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
        found = Description.model_validate(tree)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read", code="config.unreadable", remedy="check --host") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", code="config.syntax", remedy="correct the TOML at that place") from None
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        text = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems)
        remedy = "`ogpu-provider simulate --help` and docs/operations.md show such a file"
        raise ConfigError(f"{path}: {text}", code="config.invalid", remedy=remedy) from None
    return Host(found.cpu_slots, tuple(_devices(found.devices)))


def _devices(kinds: Sequence[Cards]) -> list[Device]:
    made: list[Device] = []
    for kind in kinds:
        environment = Environment[kind.environment.upper()]
        for _ in range(kind.count):
            name = f"{kind.environment}-{sum(one.environment is environment for one in made)}"
            made.append(Device(name, environment, kind.name, int(kind.memory_gib * (1 << 30))))
    return made
