"""Which keys of the Compose Specification pass the gate.

An allowlist: whatever is in no table here is refused as unknown, so that a key which compose learns tomorrow is
refused today. `REFUSED` only gives better words for what is known to be dangerous.
"""

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings for each service; sizes in bytes. The author's own figure counts where it is lower.

    `private_registries`: images may come from this host's own network; for a devnet. `registries`: those at other ports
    than 80 and 443 that images may come from, as host:port. `granted`: so many devices are all of them, to an author
    who asks for all.
    """

    memory: int = 64 * GIB
    cpus: float = 64.0
    pids: int = 4096
    shm: int = 8 * GIB
    tmpfs: int = 2 * GIB
    services: int = 10
    ports: int = 8
    volumes: int = 16
    devices: int = 16
    granted: int = 1
    retries: int = 5
    tmpfs_mounts: int = 16
    stop_grace: float = 30.0
    private_registries: bool = False
    registries: frozenset[str] = frozenset()


TOP_LEVEL = frozenset({"services", "volumes", "networks", "name", "version"})
"""Besides x-*, which compose ignores as well."""

_HOST = "gives the container power over the host"
_FILES = "reads files or variables of the host"
_CODE = "runs programs outside the container's own user, or on the host"
_ABUSE = "takes more than a fair share of the host"
_NAMES = "takes a name that others rely on"
_NET = "changes how the host's network is used"

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("use_api_socket", "pid", "uts", "userns_mode", "cgroup", "cgroup_parent", "device_cgroup_rules"), _HOST
    ),
    **dict.fromkeys(("cap_add", "sysctls", "group_add", "volumes_from", "credential_spec", "isolation"), _HOST),
    **dict.fromkeys(("env_file", "label_file", "extends", "configs", "secrets"), _FILES),
    **dict.fromkeys(("provider", "post_start", "pre_stop", "develop", "build", "models"), _CODE),
    **dict.fromkeys(
        ("ulimits", "storage_opt", "blkio_config", "cpu_rt_runtime", "cpu_rt_period", "oom_score_adj"), _ABUSE
    ),
    **dict.fromkeys(("memswap_limit", "mem_swappiness", "cpuset", "cpu_shares", "cpu_quota", "cpu_period"), _ABUSE),
    **dict.fromkeys(("container_name", "domainname", "annotations"), _NAMES),
    **dict.fromkeys(("dns", "dns_search", "dns_opt", "mac_address", "links", "external_links"), _NET),
}

REFUSED_TOP: dict[str, str] = {
    **dict.fromkeys(("include", "configs", "secrets"), _FILES),
    "models": _CODE,
}

_CHOOSING = (
    *("NVIDIA_", "AMD_VISIBLE_", "HABANA_VISIBLE_", "ASCEND_VISIBLE_", "ASCEND_RUNTIME_", "MTHREADS_VISIBLE_"),
    *("DOCKER_RESOURCE_", "CAMBRICON_VISIBLE_", "METAX_VISIBLE_", "ENFLAME_VISIBLE_", "IX_VISIBLE_", "QAIC_VISIBLE_"),
)
FORBIDDEN_LABELS = ("com.docker.", "io.docker.", "org.dockerproject.", "ogpu.", "desktop.docker.")
HOST_GATEWAY = "host.docker.internal"
LOG_DRIVERS = frozenset({"json-file", "local"})
CONDITIONS = frozenset({"service_started", "service_healthy", "service_completed_successfully"})
BIND_ROOTS = ("/data", "/mnt", "/media", "/srv")
"""What a waiver of compose.bind_mount reaches at most."""
FORBIDDEN_TARGETS = ("/proc", "/sys", "/dev", "/run/docker.sock", "/var/run/docker.sock")


def chooses_devices(variable: str) -> bool:
    """Whether the engine's device hooks act on a variable of this name. Such a variable only we set."""
    return variable.upper().startswith(_CHOOSING)
