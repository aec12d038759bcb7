"""Every row of IANA's special-purpose address registries, in every form that carries it, costs no connection."""

import asyncio
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from ogpu_provider.domain.addresses import is_public, may_be_public
from ogpu_provider.domain.errors import FetchError
from ogpu_provider.ipfs.fetch import Fetcher

V4 = """
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4
240.0.0.0/4 255.255.255.255/32
"""
V6 = """
::1/128 ::/128 ::/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32
2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28
2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
"""
V4_BLOCKS = [IPv4Network(block) for block in V4.split()]
HOSTS = """
127.0.0.1 127.1 127.0.1 0 0.0.0.0 2130706433 0x7f000001 0x7f.1 0x7f.0x0.0x0.0x1 0177.0.0.1 0177.1 017700000001
127.0.0.1. localhost localhost. LOCALHOST [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1]
[0:0:0:0:0:0:0:1] 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 [::ffff:169.254.169.254] [fd00:ec2::254]
[64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::] [2002:7f00:1::] [fe80::1] [fec0::1] 10.0.0.1 192.168.0.1 100.64.0.1 172.17.0.1
"""


def carried(address: IPv4Address) -> list[IPv6Address]:
    """The forms of IPv6 that carry an IPv4 address: compatible, mapped, translated, NAT64, 6to4, Teredo, ISATAP."""
    number = int(address)
    return [
        IPv6Address(prefix | number << shift)
        for prefix, shift in (
            (0, 0),
            (0xFFFF << 32, 0),
            (0xFFFF << 48, 0),
            (0x64FF9B << 96, 0),
            (0x64FF9B0001 << 80, 0),
            (0x2002 << 112, 80),
            (0x2606_4700 << 96 | 0x5EFE << 32, 0),
            (0x2606_4700 << 96 | 0x0200_5EFE << 32, 0),
        )
    ] + [IPv6Address(0x2001_0000 << 96 | (number ^ 0xFFFF_FFFF))]


@pytest.mark.parametrize("block", V4_BLOCKS, ids=str)
def test_a_row_for_ipv4_is_refused_in_every_form(block: IPv4Network) -> None:
    for address in {block[0], block[block.num_addresses // 2], block[-1]}:
        assert not is_public(str(address))
        assert not may_be_public(str(address))
        for form in carried(address):
            assert not is_public(str(form)), form


@pytest.mark.parametrize("block", V6.split())
def test_a_row_for_ipv6_is_refused(block: str) -> None:
    network = IPv6Network(block)
    for address in {network[0], network[network.num_addresses // 2], network[-1]}:
        assert not is_public(str(address))
        assert not may_be_public(f"[{address}]")


async def test_no_spelling_of_a_private_host_opens_a_connection() -> None:
    """Counted at the socket: no connect to an internet address happens in this process meanwhile."""
    connections: list[object] = []
    counting = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if counting and event == "socket.connect" and isinstance(arguments[1], tuple):
            connections.append(arguments[1])

    sys.addaudithook(hook)
    codes = {}
    async with Fetcher() as fetcher:
        for host in HOSTS.split():
            for url in (f"http://{host}/latest/meta-data", f"https://{host}:443/"):
                with pytest.raises(FetchError) as caught:
                    async with asyncio.timeout(10):
                        await fetcher.get(url, limit_bytes=10)
                codes[url] = caught.value.code
    counting = False
    assert connections == []
    assert set(codes.values()) <= {"fetch.forbidden_address", "fetch.bad_url", "fetch.unreachable"}, codes


@pytest.mark.parametrize("host", ["registry.example", "ghcr.io", "1.1.1.1", "[2606:4700::1]", "xn--bcher-kva.example"])
def test_a_public_host_may_be_one(host: str) -> None:
    assert may_be_public(host)


@pytest.mark.parametrize("host", ["", ".", "nas.local", "db.internal.", "a.localhost", "::1", "1.1.1", "0x1", "x.0x1"])
def test_a_host_that_leads_nowhere_public(host: str) -> None:
    assert not may_be_public(host)
