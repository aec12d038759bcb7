"""The units of systemd, rendered from a plan. Pure: looks at nothing, writes nothing.

The daemon is confined as far as a program can be that talks to a container engine. The group docker is as good as
root: the sandbox bounds a defect in a parser, not somebody who commands the engine.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

NAME = "ogpu-provider"
MARK = "# Written by `ogpu-provider service install`, and removed by `service uninstall`. Changes: systemctl edit."
CREDENTIAL = "keystore-password"
WATCHDOG_S = 60
STOP_S = 90
SETTINGS = PurePosixPath("/etc/ogpu-provider/config.toml")
PASSWORD = PurePosixPath("/etc/ogpu-provider/keystore-password")
NO_RESTART = 2
"""Exit status for wrong settings: starting again would not help."""

LOCK_FOR = "'touch {lock} && chgrp $$(id -g {{user}}) {lock} && chmod g+r {lock}'".format(lock="/run/xtables.lock")

CONFINEMENT = """\
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
RemoveIPC=yes
KeyringMode=private
UMask=0077
DevicePolicy=closed
DeviceAllow=/dev/nvidiactl rw
DeviceAllow=/dev/nvidia-uvm rw
DeviceAllow=char-nvidia rw
DeviceAllow=/dev/kfd r
DeviceAllow=char-drm rw
LimitCORE=0
MemoryMax=2G
TasksMax=1024"""


@dataclass(frozen=True, slots=True)
class Plan:
    """`program`: absolute path of `ogpu-provider`. `callback`: address and port that containers post to.

    `groups`: that the user is in besides its own; each must exist, or systemd will not start the service.
    """

    program: PurePosixPath
    callback: tuple[str, int]
    user: str = "ogpu"
    groups: tuple[str, ...] = ("docker",)
    settings: PurePosixPath = SETTINGS
    password: PurePosixPath = PASSWORD

    @property
    def data_dir(self) -> PurePosixPath:
        return PurePosixPath("/var/lib") / NAME


def service(plan: Plan) -> str:
    return f"""{MARK}
[Unit]
Description=OGPU provider
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target docker.service {NAME}.socket
Requires={NAME}.socket

[Service]
Type=notify
NotifyAccess=main
# iptables of the older kind takes this lock, and cannot make it in a system that is read-only to the service
ExecStartPre=+/bin/sh -c {LOCK_FOR.format(user=plan.user)}
ExecStart={_quoted(plan.program)} run --config {_quoted(plan.settings)}
User={plan.user}
SupplementaryGroups={" ".join(plan.groups)}
Sockets={NAME}.socket
StateDirectory={NAME}
StateDirectoryMode=0700
WorkingDirectory={plan.data_dir}
LoadCredential={CREDENTIAL}:{_quoted(plan.password)}
WatchdogSec={WATCHDOG_S}
TimeoutStartSec=600
TimeoutStopSec={STOP_S}
KillMode=mixed
Restart=on-failure
RestartSec=5
RestartPreventExitStatus={NO_RESTART}
{CONFINEMENT}

[Install]
WantedBy=multi-user.target
"""


def socket(plan: Plan) -> str:
    """The manager keeps this socket while the daemon restarts: results wait in its backlog."""
    host, port = plan.callback
    address = f"[{host}]" if ":" in host else host
    return f"""{MARK}
[Unit]
Description=OGPU provider: where containers post their results

[Socket]
ListenStream={address}:{port}
# the engine's bridge may come up later than this
FreeBind=yes
Backlog=1024

[Install]
WantedBy=sockets.target
"""


def users(plan: Plan) -> str:
    """For systemd-sysusers: the user, and the groups it is in."""
    lines = [MARK, f'u {plan.user} - "OGPU provider" {plan.data_dir}']
    lines += [f"m {plan.user} {group}" for group in plan.groups]
    return "\n".join(lines) + "\n"


def settings(plan: Plan) -> str:
    """The first configuration file. It is the operator's from then on."""
    return f"""# Settings of the ogpu-provider service. `ogpu-provider config explain` lists every one.
data_dir = "{plan.data_dir}"

[wallet]
password_credential = "{CREDENTIAL}"

[sources]
serve = []
"""


def _quoted(path: PurePosixPath) -> str:
    """As one word of a unit file: `%` and `$` stand for themselves."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if any(c.isspace() or c in "\"';\\" for c in text) else text
