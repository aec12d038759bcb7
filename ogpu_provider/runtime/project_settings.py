"""What the operator decides about running projects, in the runtime's terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.isolation import IsolationSettings
from ogpu_provider.runtime.reaper import GRACE_S


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """`instance` tells daemons on one engine apart. Times in seconds. `provider`: our address, shown to sources.

    `dispatch_timeout` bounds each read of a container's answer. `restarts`: ends by themselves within an hour after
    which a source is left alone. `tags_every`: between two looks at what its tags stand for, None: only at its starts.
    `granted`: devices of a source whose author asks for all of them; one, if nothing is said.
    """

    instance: str
    data_dir: Path
    provider: Address
    ready_timeout: float = 300.0
    start_timeout: float = 120.0
    stop_grace: int = 10
    orphan_grace: float = GRACE_S
    restarts: int = 5
    tags_every: float | None = 6 * 3600.0
    granted: Mapping[Address, int] = field(default_factory=dict)
    dispatch_host: str = "127.0.0.1"
    dispatch_timeout: float = 15.0
    limits: Limits = field(default_factory=Limits)
    isolation: IsolationSettings = field(default_factory=IsolationSettings)
