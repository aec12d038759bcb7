"""Every rule of the gate under its code: what it means, what to do about it, and whether an operator may lift it.

docs/compose-rules.md is made from this table. A code is never given to another rule.
"""

from dataclasses import dataclass

_LEAVE = "leave it out"


@dataclass(frozen=True, slots=True)
class Rule:
    """`waivable`: an operator may lift it for one file of one source. Never what gives away the key or the host."""

    code: str
    meaning: str
    remedy: str
    waivable: bool = False


def _key(name: str, meaning: str, remedy: str = _LEAVE) -> Rule:
    """The rule about a key that is refused whatever its value."""
    return Rule(f"compose.{name}", meaning, remedy)


_PLAIN = "write plain YAML: one document of plain mappings, lists and text"
_SHARE = "takes more than a fair share of the host"
_SERVICE_NAME = "leave it out; services reach each other by their service name"
_IMAGE = "put the file into the image, or a variable under environment"

_READING = (
    Rule("compose.too_large", "More than 256 KiB, or 512 KiB with aliases written out.", "shorten it"),
    Rule("compose.too_deep", "More than 32 levels, aliases written out.", "flatten it"),
    Rule("compose.too_many_nodes", "More than 2,000 values, aliases written out.", "shorten it, use fewer aliases"),
    Rule("compose.syntax", "Not a YAML mapping in UTF-8.", "check it with `docker compose config`"),
    Rule("compose.documents", "A second document, which compose would merge over the first.", _PLAIN),
    Rule("compose.tag", "A YAML tag.", _PLAIN),
    Rule("compose.alias", "An alias to nothing or into itself, or a merge of something else than mappings.", _PLAIN),
    Rule("compose.duplicate_key", "The same key twice in one mapping.", "keep one of them"),
    Rule(
        "compose.key",
        "A key that is not a short line of text: a number, true, false or null is none.",
        _PLAIN,
    ),
    Rule(
        "compose.control_character",
        "A control character, or one that turns the direction of text or that nobody sees; in a comment, too.",
        "remove it",
    ),
    Rule("compose.unknown_key", "A key that is not on the list of those that are run.", _LEAVE),
    Rule("compose.type", "A value of the wrong kind, or one that compose would not understand.", "see the message"),
    Rule(
        "compose.variable",
        "A variable that is not supplied, or a broken `${...}`.",
        "use PORT and CALLBACK_URL, give others a default; $$ is a dollar sign",
    ),
    Rule("compose.value_too_long", "A value of more than 65,536 characters.", "put it into the image"),
    Rule("compose.secret", "Asks for the operator's key by a variable's name.", "remove it; a source gets no key"),
)
_WHOLE = (
    Rule("compose.services", "No service, or more than are run.", "one to ten services"),
    Rule("compose.target", "Not exactly one service publishes port 5555.", 'give one service ports: ["${PORT}:5555"]'),
    Rule(
        "compose.reference",
        "A service, volume or network that is not declared or not run; a service that waits for itself.",
        "declare it",
    ),
    Rule("compose.service_name", "A name that is another service's, or a host's elsewhere.", "choose another name"),
    Rule("compose.mount_twice", "Two mounts on one path.", "keep one of them"),
    Rule("compose.too_many_volumes", "More volumes or mounts in memory than are given.", "use fewer"),
    Rule("compose.too_many_ports", "More fixed host ports than are given.", "use names of services instead"),
    Rule(
        "compose.image", "No image, or not the name of one in a registry.", "name an image: repository:tag@sha256:..."
    ),
    Rule(
        "compose.image_registry",
        "A registry on this host or its network, or at a port that the operator did not list (`images.registries`).",
        "publish the image in a registry on the internet, at its usual port",
    ),
)
_HOST = (
    Rule("compose.privileged", "Root on the host.", _LEAVE),
    _key("use_api_socket", "Gives the container the engine's socket: root on the host."),
    _key("pid", "Shares processes with the host or another container."),
    Rule("compose.ipc", "Shares memory with the host or another container.", "leave it out; shm_size gives memory"),
    Rule("compose.ipc_private", "Chooses the engine's default, which an author need not.", _LEAVE, waivable=True),
    _key("uts", "Shares the host's name."),
    _key("userns_mode", "Leaves the engine's user namespace."),
    _key("cgroup", "Shares a control group."),
    _key("cgroup_parent", "Leaves the engine's control groups and their limits."),
    Rule("compose.network_mode", "Leaves the project's own network.", _LEAVE),
    Rule("compose.device", "A device of the host other than an AMD GPU.", "reserve GPUs by count"),
    _key("device_cgroup_rules", "Opens devices of the host."),
    _key("cap_add", "Adds a capability.", "leave it out; no capability is given"),
    Rule("compose.security_opt", "Weakens seccomp, AppArmor or no-new-privileges.", _LEAVE),
    Rule("compose.runtime", "Another runtime than runc or nvidia.", _LEAVE),
    _key("sysctls", "Sets kernel parameters."),
    _key("group_add", "Joins groups of the host's files.", "run as a user of the image that may use the device"),
    _key("volumes_from", "Takes another container's volumes."),
    _key("credential_spec", "Uses credentials of the host."),
    _key("isolation", "Chooses an isolation of another system."),
    Rule(
        "compose.bind_mount",
        "Mounts a directory of the host. Waived: one directory below /data, /mnt, /media or /srv.",
        "declare a named volume under volumes and mount that",
        waivable=True,
    ),
    Rule("compose.mount_type", "A mount that is not a named volume or memory.", "mount a named volume"),
    Rule("compose.mount_option", "A mount option that is not given.", _LEAVE),
    Rule("compose.mount_target", "A place in the container that belongs to the engine.", "mount somewhere else"),
    Rule("compose.working_dir", "Starts below /proc, /sys or /dev: a door of the engine's own.", "work in /app"),
    Rule("compose.volume", "A volume's option that leads to the host's files or another project's.", _LEAVE),
)
_FILES = (
    Rule("compose.environment_name", "A variable without a value would be read from the host.", "give it a value"),
    _key("env_file", "Reads a file of the host.", "write the variables under environment"),
    _key("label_file", "Reads a file of the host."),
    _key("extends", "Reads a file of the host or the network.", "write the service out"),
    _key("include", "Reads a file of the host or the network.", "write the services out"),
    _key("configs", "Reads a file or a variable of the host.", _IMAGE),
    _key("secrets", "Reads a file or a variable of the host.", "a provider has no secrets for sources"),
    _key("provider", "Runs a program on the host."),
    _key("models", "Runs a program on the host."),
    _key("post_start", "Runs a command outside the container's own start, as any user."),
    _key("pre_stop", "Runs a command outside the container's own start, as any user."),
    _key("develop", "Copies files of the host."),
    _key("build", "Builds an image on the host.", "publish the image in a registry and name it in image"),
)
_SHARES = (
    Rule("compose.shm_size", f"Shared memory over the limit: {_SHARE}.", "ask for less", waivable=True),
    Rule("compose.tmpfs_size", f"Memory for files over the limit: {_SHARE}.", "ask for less"),
    Rule("compose.figure", "A limit lower than an engine can set.", "give a higher figure, or leave it out"),
    Rule("compose.replicas", "More or fewer than one container for a service.", _LEAVE),
    Rule("compose.deploy", "A setting for clusters.", _LEAVE),
    Rule("compose.restart", "Restarts a broken container for ever.", "use on-failure:3"),
    Rule("compose.oom_kill_disable", "Cannot be ended when memory runs out.", _LEAVE),
    *(
        _key(name, f"{_SHARE[0].upper()}{_SHARE[1:]}.")
        for name in (
            *("ulimits", "storage_opt", "blkio_config", "cpu_rt_runtime", "cpu_rt_period", "oom_score_adj"),
            *("memswap_limit", "mem_swappiness", "cpuset", "cpu_shares", "cpu_quota", "cpu_period"),
        )
    ),
    Rule("compose.gpu", "A way to ask for GPUs that is not given.", "reserve by count: gpus: [{count: 1}]"),
    Rule("compose.gpu_environment", "GPUs of another environment than the file's.", "publish one file each"),
    Rule("compose.cdi", "Names devices of the host.", "reserve GPUs by count"),
)
_OTHERS = (
    _key("container_name", "Takes a name that others rely on.", _SERVICE_NAME),
    _key("domainname", "Takes a name that others rely on."),
    _key("annotations", "Programs on the host act on them."),
    Rule("compose.label", "A label that speaks for the engine, for compose or for us.", "choose another name"),
    Rule("compose.extra_hosts", "A host name other than host.docker.internal:host-gateway.", "use names in DNS"),
    Rule("compose.network", "A network other than the project's own bridge, or an address on it.", _LEAVE),
    Rule("compose.port", "A host port below 1024, twice the same, or ours.", "take another port above 1023"),
    Rule("compose.logging", "Logs that leave the host or are not kept.", "use json-file or local"),
    *(_key(name, "Changes where names lead.") for name in ("dns", "dns_search", "dns_opt")),
    _key("mac_address", "Takes another's address on the network."),
    _key("links", "Reaches other containers by links.", _SERVICE_NAME),
    _key("external_links", "Reaches other projects' containers.", _SERVICE_NAME),
)
SECTIONS = {
    "Reading": _READING,
    "The project as a whole": _WHOLE,
    "Power over the host": _HOST,
    "The host's files, variables and programs": _FILES,
    "Fair shares": _SHARES,
    "Names and networks": _OTHERS,
}
RULES = {rule.code: rule for rules in SECTIONS.values() for rule in rules}
WAIVABLE = frozenset(code for code, rule in RULES.items() if rule.waivable)


def page() -> str:
    """docs/compose-rules.md."""
    lines = [
        "# Rules for compose files",
        "",
        "What `ogpu-provider compose check` can say against a file, by code. Made from the gate's own table by",
        "`python -m ogpu_provider.runtime.compose.rules > docs/compose-rules.md`; do not edit.",
        "",
        "A rule with *yes* in the last column can be lifted by the operator for one file of one source:",
        '`ogpu-provider sources approve SOURCE --waive CODE --reason "why"`. It holds for that very file and is asked',
        "again when the file changes. No other rule can be lifted.",
    ]
    for title, rules in SECTIONS.items():
        lines += ["", f"## {title}", "", "| code | meaning | remedy | waivable |", "|---|---|---|---|"]
        for rule in rules:
            cells = (f"`{rule.code}`", rule.meaning, rule.remedy, "yes" if rule.waivable else "no")
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
