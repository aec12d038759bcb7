"""Are containers kept out of the networks of this host?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

CLOSED = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10")


async def look(context: Context) -> Seen:
    if context.settings.runtime.engine != "docker":
        return skipped("runtime.engine is processes: there are no containers to keep in")
    answer = await context.machine.run("iptables", "-w", "2", "-S")
    if answer is None:
        return failed("there is no iptables here, so no rules either")
    if answer[0] != 0:
        return unknown(f"the firewall's rules cannot be read by this user: {answer[1].strip()[:120]}")
    rules = [line for line in answer[1].splitlines() if line.endswith(("DROP", "REJECT")) or " -j REJECT" in line]
    missing = [net for net in CLOSED if not any(f"-d {net} " in rule for rule in rules)]
    return (
        failed(f"nothing keeps containers from {', '.join(missing)}") if missing else ok("private networks are closed")
    )


CHECK = Check(
    id="egress_rules",
    topic=Topic.SERVICES,
    severity=Severity.WARNING,
    title="egress of containers",
    meaning=(
        "A source's container can reach whatever this host can: the local network, a cloud's metadata service with its "
        "credentials, other people's machines."
    ),
    remedy=(
        "drop those networks in the chain DOCKER-USER, e.g. `iptables -I DOCKER-USER -d 169.254.0.0/16 -j DROP` for "
        "each, after accepting the callback address; or keep this host in a network of its own"
    ),
    look=look,
)
