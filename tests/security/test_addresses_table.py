"""Every row of IANA's special-purpose address registries is refused, in every form that carries it."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from ogpu_provider.domain.addresses import is_public, may_be_public

V4 = """
0.0.0.0/8            "this network"                       RFC 791
0.0.0.0/32           this host on this network            RFC 1122
10.0.0.0/8           private use                          RFC 1918
100.64.0.0/10        shared address space                 RFC 6598
127.0.0.0/8          loopback                             RFC 1122
169.254.0.0/16       link local                           RFC 3927
172.16.0.0/12        private use                          RFC 1918
192.0.0.0/24         IETF protocol assignments            RFC 6890
192.0.0.0/29         IPv4 service continuity              RFC 7335
192.0.0.8/32         dummy address                        RFC 7600
192.0.0.9/32         port control protocol anycast        RFC 7723
192.0.0.10/32        TURN anycast                         RFC 8155
192.0.0.170/32       NAT64/DNS64 discovery                RFC 8880
192.0.0.171/32       NAT64/DNS64 discovery                RFC 8880
192.0.2.0/24         documentation, TEST-NET-1            RFC 5737
192.31.196.0/24      AS112-v4                             RFC 7535
192.52.193.0/24      AMT                                  RFC 7450
192.88.99.0/24       deprecated, 6to4 relay anycast       RFC 7526
192.88.99.2/32       6a44 relay anycast                   RFC 6751
192.168.0.0/16       private use                          RFC 1918
192.175.48.0/24      direct delegation AS112              RFC 7534
198.18.0.0/15        benchmarking                         RFC 2544
198.51.100.0/24      documentation, TEST-NET-2            RFC 5737
203.0.113.0/24       documentation, TEST-NET-3            RFC 5737
224.0.0.0/4          multicast                            RFC 5771
240.0.0.0/4          reserved                             RFC 1112
255.255.255.255/32   limited broadcast                    RFC 919
"""
"""IANA IPv4 Special-Purpose Address Registry, with multicast from the address space registry."""
V6 = """
::1/128              loopback                             RFC 4291
::/128               unspecified                          RFC 4291
::ffff:0:0/96        IPv4-mapped, of a private address    RFC 4291
64:ff9b::/96         IPv4-IPv6 translation                RFC 6052
64:ff9b:1::/48       IPv4-IPv6 translation, local         RFC 8215
100::/64             discard only                         RFC 6666
100:0:0:1::/64       dummy prefix                         RFC 9780
2001::/23            IETF protocol assignments            RFC 2928
2001::/32            Teredo                               RFC 4380
2001:1::1/128        port control protocol anycast        RFC 7723
2001:1::2/128        TURN anycast                         RFC 8155
2001:1::3/128        DNS-SD service registration anycast  RFC 9665
2001:2::/48          benchmarking                         RFC 5180
2001:3::/32          AMT                                  RFC 7450
2001:4:112::/48      AS112-v6                             RFC 7535
2001:10::/28         deprecated, ORCHID                   RFC 4843
2001:20::/28         ORCHIDv2                             RFC 7343
2001:30::/28         drone remote identification          RFC 9374
2001:db8::/32        documentation                        RFC 3849
2002::/16            6to4                                 RFC 3056
2620:4f:8000::/48    direct delegation AS112              RFC 7534
3fff::/20            documentation                        RFC 9637
5f00::/16            segment routing SIDs                 RFC 9602
fc00::/7             unique local                         RFC 4193
fe80::/10            link-local unicast                   RFC 4291
::/96                deprecated, IPv4-compatible          RFC 4291
::ffff:0:0:0/96      IPv4-translated                      RFC 2765
fec0::/10            deprecated, site-local               RFC 3879
ff00::/8             multicast                            RFC 4291
"""
"""IANA IPv6 Special-Purpose Address Registry; the last four are from the address space registry."""
V4_BLOCKS = [IPv4Network(row.split()[0]) for row in V4.strip().splitlines()]
V6_BLOCKS = [IPv6Network(row.split()[0]) for row in V6.strip().splitlines()]
MAPPED = IPv6Network("::ffff:0:0/96")


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


@pytest.mark.parametrize("block", V6_BLOCKS, ids=str)
def test_a_row_for_ipv6_is_refused(block: IPv6Network) -> None:
    for address in {block[0], block[block.num_addresses // 2], block[-1]}:
        if block == MAPPED and not address.ipv4_mapped.is_private:  # type: ignore[union-attr]
            address = IPv6Address("::ffff:10.0.0.1")  # a public one, mapped, is judged as what it is
        assert not is_public(str(address))
        assert not may_be_public(f"[{address}]")


@pytest.mark.parametrize("host", ["registry.example", "ghcr.io", "1.1.1.1", "[2606:4700::1]", "xn--bcher-kva.example"])
def test_a_public_host_may_be_one(host: str) -> None:
    assert may_be_public(host)


@pytest.mark.parametrize("host", ["", ".", "nas.local", "db.internal.", "a.localhost", "::1", "1.1.1", "0x1", "x.0x1"])
def test_a_host_that_leads_nowhere_public(host: str) -> None:
    assert not may_be_public(host)
