"""Rules as values, followed by a small reader of them: what would happen to a packet."""

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.egress import rules
from ogpu_provider.runtime.egress.rules import Endpoint, Family, Grant, Policy
from ogpu_provider.runtime.egress.table import Table, change, held, parse

SOURCE, OTHER = Address("0x" + "5A" * 20), Address("0x" + "5B" * 20)
CALLBACK = Endpoint("172.17.0.1", 4000)
OWN = Endpoint("172.17.0.1", 12436)
RESOLVER = "192.168.1.1"


def grant(policy: Policy = Policy.INTERNET, source: Address = SOURCE) -> Grant:
    return Grant(source, policy, CALLBACK, frozenset({OWN}), (RESOLVER, "fd00::53"))


def fate(lines: Sequence[str], to: str, port: int = 443, protocol: str = "tcp", out: str = "eth0") -> str:
    """The verdict for the first packet of a new connection."""
    for line in lines:
        words = line.split()
        options = dict(zip(words[::2], words[1::2], strict=True))
        if "-j" not in options or "--ctstate" in options or "--icmpv6-type" in options:
            continue
        if "-d" in options and ipaddress.ip_address(to) not in ipaddress.ip_network(options["-d"]):
            continue
        if options.get("-p", protocol) != protocol or int(options.get("--dport", port)) != port:
            continue
        wanted = options.get("-o", out)
        if wanted == out or (wanted.endswith("+") and out.startswith(wanted[:-1])):
            return options["-j"]
    return "RETURN"


def chains(policy: Policy, family: Family = Family.V4) -> tuple[Sequence[str], Sequence[str]]:
    made = rules.ruleset(family, "one", {SOURCE: grant(policy)}).chains
    through, to_host = rules.source_chains("one", SOURCE)
    return made[through], made[to_host]


FORBIDDEN = (
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.2", "100.64.0.1", "100.127.255.255", "127.0.0.1"),
    *("169.254.169.254", "169.254.0.1", "224.0.0.251", "239.255.255.250", "255.255.255.255", "0.0.0.0"),
)
FORBIDDEN_V6 = (
    *("fd00:ec2::254", "fc00::1", "fe80::1", "ff02::1", "::1", "::", "::ffff:10.0.0.1", "::169.254.169.254"),
    *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001::1", "2001:db8::1", "fec0::1", "5f00::1", "3fff::1"),
)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_policy_reaches_a_private_range(address: str) -> None:
    assert {fate(chains(policy)[0], address) for policy in Policy} == {"DROP"}


@pytest.mark.parametrize("address", FORBIDDEN_V6)
def test_nor_one_of_ipv6(address: str) -> None:
    assert {fate(chains(policy, Family.V6)[0], address) for policy in Policy} == {"DROP"}


def test_the_internet_is_for_its_policy_only_and_without_mail() -> None:
    for address, family in (("203.0.113.7", Family.V4), ("8.8.8.8", Family.V4), ("2606:4700::1111", Family.V6)):
        verdicts = {policy: fate(chains(policy, family)[0], address) for policy in Policy}
        assert verdicts == {Policy.NONE: "DROP", Policy.CALLBACK_ONLY: "DROP", Policy.INTERNET: "RETURN"}
        mail = {fate(chains(Policy.INTERNET, family)[0], address, port) for port in (25, 465, 587)}
        assert mail == {"DROP"}


def test_another_sources_bridge_is_closed_whatever_its_addresses() -> None:
    through, _ = chains(Policy.INTERNET)
    assert fate(through, "203.0.113.7", out=rules.bridge_name("one", OTHER)) == "DROP"
    assert fate(through, "203.0.113.7", out=rules.bridge_name("two", SOURCE)) == "DROP"
    assert fate(through, "192.168.9.9", out=rules.bridge_name("one", SOURCE)) == "RETURN"


@given(address=st.ip_addresses(v=4), port=st.integers(1, 65535), policy=st.sampled_from(Policy))
def test_of_the_host_a_source_gets_its_callback_its_own_ports_and_the_resolver(
    address: ipaddress.IPv4Address, port: int, policy: Policy
) -> None:
    _, to_host = chains(policy)
    if (str(address), port) not in ((CALLBACK.address, 4000), (OWN.address, 12436), (RESOLVER, 53)):
        assert fate(to_host, str(address), port) == "DROP"
    assert fate(to_host, CALLBACK.address, 4000) == ("DROP" if policy is Policy.NONE else "ACCEPT")
    assert fate(to_host, OWN.address, 12436) == "ACCEPT"
    assert fate(to_host, RESOLVER, 53, "udp") == ("ACCEPT" if policy is Policy.INTERNET else "DROP")


@given(address=st.ip_addresses(v=4))
def test_what_is_let_through_is_no_private_address(address: ipaddress.IPv4Address) -> None:
    if fate(chains(Policy.INTERNET)[0], str(address), 443) == "RETURN":
        documentation = any(
            address in ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
        )
        assert address.is_global or documentation


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("policy", Policy)
def test_a_chain_that_was_emptied_or_opened_is_told_without_knowing_the_grant(policy: Policy, family: Family) -> None:
    made = dict(rules.ruleset(family, "one", {SOURCE: grant(policy)}).chains)
    assert rules.opened(family, "one", SOURCE, made) == ""
    assert rules.opened(family, "one", OTHER, made) == rules.forward_chain("one")
    for name, lines in made.items():
        assert rules.opened(family, "one", SOURCE, made | {name: ()}) == name
        if name in rules.source_chains("one", SOURCE):
            without = tuple(line for line in lines if not line.endswith("-j DROP"))
            assert rules.opened(family, "one", SOURCE, made | {name: without}) == name


def test_names_fit_the_kernel_and_are_their_instances_own() -> None:
    assert len(rules.bridge_name("a" * 32, SOURCE)) == 15
    names = {rules.bridge_name(instance, source) for instance in ("one", "two") for source in (SOURCE, OTHER)}
    assert len(names) == 4
    for chain in (*rules.source_chains("one", SOURCE), rules.forward_chain("one"), rules.input_chain("one")):
        assert len(chain) <= 28
        assert rules.is_ours("one", chain)
        assert not rules.is_ours("two", chain)


def test_nothing_but_addresses_gets_into_a_rule() -> None:
    with pytest.raises(ValueError):
        rules.ruleset(Family.V4, "one", {SOURCE: Grant(SOURCE, Policy.INTERNET, Endpoint("1.2.3.4 -j ACCEPT", 1))})


BEFORE = """*filter
:INPUT ACCEPT [10:1000]
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
[5:500] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
[0:0] -A FORWARD -j DOCKER-USER
[0:0] -A DOCKER-USER -j RETURN
COMMIT
"""


def test_a_change_is_one_transaction_beside_everybody_elses_chains() -> None:
    wanted = rules.ruleset(Family.V4, "one", {SOURCE: grant()})
    text = change(parse(BEFORE), "one", wanted)
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("*filter", "COMMIT")
    assert f"-I DOCKER-USER 1 -j {rules.forward_chain('one')}" in lines
    assert f"-I INPUT 1 -j {rules.input_chain('one')}" in lines
    declared = {line.split()[0][1:] for line in lines if line.startswith(":")}
    assert declared == set(wanted.chains)
    assert all(rules.is_ours("one", line.split()[1]) for line in lines if line.startswith(("-A", "-X")))


def test_without_a_chain_of_the_engine_the_forward_chain_itself_is_used() -> None:
    table = parse("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n")
    text = change(table, "one", rules.ruleset(Family.V6, "one", {SOURCE: grant()}))
    assert f"-I FORWARD 1 -j {rules.forward_chain('one')}" in text
    unreached = parse(BEFORE.replace("[0:0] -A FORWARD -j DOCKER-USER\n", ""))
    assert unreached.parent() == "FORWARD"


def after(order: Sequence[str]) -> Table:
    wanted = rules.ruleset(Family.V4, "one", {SOURCE: grant()}).chains
    return Table({**wanted, "FORWARD": ("-j DOCKER-USER",), "DOCKER-USER": (), "INPUT": ()} | {"INPUT": tuple(order)})


def test_rules_hold_only_where_packets_come_to_them_first() -> None:
    wanted = rules.ruleset(Family.V4, "one", {SOURCE: grant()}).chains
    ours, theirs = f"-j {rules.input_chain('one')}", f"-j {rules.input_chain('two')}"
    through = (f"-j {rules.forward_chain('one')}",)
    for order, good in (((ours,), True), ((theirs, ours), True), (("-j ACCEPT", ours), False), ((), False)):
        table = Table({**after(order).chains, "DOCKER-USER": through})
        assert (held(table, "one", wanted) == "") is good
    assert "DOCKER-USER" in held(after((ours,)), "one", wanted)


@pytest.mark.parametrize("index", range(4))
def test_a_missing_or_changed_chain_is_seen(index: int) -> None:
    wanted = dict(rules.ruleset(Family.V4, "one", {SOURCE: grant()}).chains)
    jumps = {
        "FORWARD": ("-j DOCKER-USER",),
        "DOCKER-USER": (f"-j {rules.forward_chain('one')}",),
        "INPUT": (f"-j {rules.input_chain('one')}",),
    }
    name = sorted(wanted)[index]
    assert held(Table({**wanted, **jumps}), "one", wanted) == ""
    assert name in held(Table({**wanted, **jumps, name: wanted[name][:-1]}), "one", wanted)
    gone = {key: lines for key, lines in wanted.items() if key != name}
    assert name in held(Table({**gone, **jumps}), "one", wanted)
