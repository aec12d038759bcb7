"""Which IP addresses a stranger's URL, image or name may lead to: public unicast, nothing else.

`ipaddress.is_global` alone lets tunnels to private addresses through (6to4, NAT64, deprecated site-local). The IPv4
table is the IANA special-purpose registry and what is reserved; IPv6 is an allow-list, the one block that IANA hands
out, less its special-purpose parts and the interface ids that carry an IPv4 address inside (ISATAP).
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

FORBIDDEN_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local, cloud metadata, RFC 3927
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.31.196.0/24",  # AS112, RFC 7535
        "192.52.193.0/24",  # AMT, RFC 7450
        "192.88.99.0/24",  # 6to4 relay, deprecated, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "192.175.48.0/24",  # AS112 direct delegation, RFC 7534
        "198.18.0.0/15",  # benchmarking, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
GLOBAL_V6 = IPv6Network("2000::/3")
FORBIDDEN_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # IETF protocol assignments, Teredo, ORCHID, RFC 2928
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056
        "2620:4f:8000::/48",  # AS112, RFC 7534
        "3fff::/20",  # documentation, RFC 9637
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)
_LOCAL_NAMES = (
    *("localhost", "localdomain", "local", "internal", "intranet", "private", "lan", "home", "corp", "arpa", "onion"),
    *("test", "invalid"),
)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def is_public(address: str) -> bool:
    """Whether this literal (no zone, no brackets) is a public unicast address. False if it is no address at all."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if isinstance(parsed, IPv4Address):
        return not any(parsed in block for block in FORBIDDEN_V4)
    # A scope id never belongs to a global address, and `in` ignores it.
    if parsed.scope_id is not None or parsed not in GLOBAL_V6 or any(parsed in block for block in FORBIDDEN_V6):
        return False
    carried = int(parsed) >> 32 & 0xFFFF_FFFF in _ISATAP
    return not carried or is_public(str(IPv4Address(int(parsed) & 0xFFFF_FFFF)))


def may_be_public(host: str) -> bool:
    """Whether a host, as written (brackets allowed, no port), can lead to a public address at all.

    False for private literals in any spelling, and for names that only this host or its network resolve: those of one
    word, and those below .local and the like. True says nothing about what a name resolves to: whoever connects checks
    those addresses with `is_public`.
    """
    if host.startswith("[") and host.endswith("]"):
        return is_public(host[1:-1])
    name = host.rstrip(".").lower()
    last = name.rpartition(".")[2]
    if _NUMBER.fullmatch(last):  # the URL Standard's rule for what is an IPv4 address
        return is_public(name)
    return "." in name.strip(".") and ":" not in name and last not in _LOCAL_NAMES
