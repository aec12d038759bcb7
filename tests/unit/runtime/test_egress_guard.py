"""When rules are written, missed, restored and refused, on a firewall in memory."""

import pytest

from ogpu_provider.domain.errors import ConfigError, EngineError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.egress import rules
from ogpu_provider.runtime.egress.firewall import Iptables
from ogpu_provider.runtime.egress.guard import EgressSettings, Guard, problem
from ogpu_provider.runtime.egress.rules import Family, Policy
from ogpu_provider.runtime.egress.table import Table, Traffic

SOURCE, OTHER = Address("0x" + "5A" * 20), Address("0x" + "5B" * 20)
URL = "http://172.17.0.1:4000/token"


class MemoryFirewall:
    """Takes what iptables-restore takes, as far as it is used. Each rule has seen `bytes` bytes."""

    def __init__(self) -> None:
        built_in = {"INPUT": [], "FORWARD": ["-j DOCKER-USER"], "DOCKER-USER": ["-j RETURN"]}
        self.chains: dict[Family, dict[str, list[str]]] = {
            family: {name: list(lines) for name, lines in built_in.items()} for family in Family
        }
        self.refusal = ""
        self.bytes = 0
        self.writes = 0

    async def families(self) -> tuple[Family, ...]:
        return tuple(Family)

    async def read(self, family: Family) -> Table:
        self._refuse()
        chains = {name: tuple(lines) for name, lines in self.chains[family].items()}
        return Table(chains, {name: (self.bytes,) * len(lines) for name, lines in chains.items()})

    async def write(self, family: Family, text: str) -> None:
        self._refuse()
        self.writes += 1
        self.bytes = 0 if family is Family.V6 else self.bytes
        chains = self.chains[family]
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            name, _, rule = rest.partition(" ")
            match word:
                case "-A":
                    chains[name].append(rule)
                case "-D":
                    chains[name].remove(rule)
                case "-I":
                    chains[name].insert(0, rule.removeprefix("1 "))
                case "-X":
                    assert not chains.pop(name)
                case _ if word.startswith(":"):
                    chains[word[1:]] = []

    def _refuse(self) -> None:
        if self.refusal:
            raise EngineError(self.refusal, code="engine.no_firewall", retry=Retry.LATER)

    def ours(self) -> set[str]:
        return {name for chains in self.chains.values() for name in chains if rules.is_ours("one", name)}


def guard(firewall: MemoryFirewall, **settings: object) -> Guard:
    return Guard("one", EgressSettings(**settings), firewall, resolvers=tuple)  # type: ignore[arg-type]


async def test_rules_come_and_go_with_their_source() -> None:
    firewall = MemoryFirewall()
    kept = guard(firewall)
    await kept.admit(SOURCE, URL, [])
    await kept.admit(OTHER, URL, [])
    assert firewall.ours() >= {*rules.source_chains("one", SOURCE), *rules.source_chains("one", OTHER)}
    await kept.release(SOURCE)
    assert not firewall.ours() & set(rules.source_chains("one", SOURCE))
    assert await problem("one", [OTHER], firewall) == ""
    assert SOURCE in await problem("one", [SOURCE], firewall)
    await kept.release(OTHER)
    assert firewall.ours() == set()
    assert firewall.chains[Family.V4] == MemoryFirewall().chains[Family.V4]


@pytest.mark.parametrize("chain", ["INPUT", "DOCKER-USER", rules.forward_chain("one")])
async def test_what_somebody_removed_is_put_back(chain: str) -> None:
    firewall = MemoryFirewall()
    kept = guard(firewall)
    await kept.admit(SOURCE, URL, [])
    before, writes = dict(firewall.chains[Family.V4]), firewall.writes
    assert await kept.verify() == ""
    assert firewall.writes == writes
    firewall.chains[Family.V4][chain] = []
    assert chain in (await kept.verify()).replace("comes to", chain)
    assert firewall.chains[Family.V4].keys() == before.keys()
    assert await kept.verify() == ""


@pytest.mark.parametrize("policy", Policy)
async def test_without_a_firewall_only_a_waived_internet_is_allowed(policy: Policy) -> None:
    firewall = MemoryFirewall()
    firewall.refusal = "Permission denied"
    with pytest.raises(EngineError) as caught:
        await guard(firewall, policy=policy).admit(SOURCE, URL, [])
    assert (caught.value.code, caught.value.retry) == ("engine.unfiltered", Retry.LATER)
    assert "Permission denied" in str(caught.value)
    waived = guard(firewall, policy=policy, unfiltered=True)
    if policy is Policy.INTERNET:
        await waived.admit(SOURCE, URL, [])
        assert waived.trouble(SOURCE) == ""
    else:
        with pytest.raises(EngineError):
            await waived.admit(SOURCE, URL, [])
    assert await problem("one", firewall=firewall) == "Permission denied"


async def test_a_right_that_is_lost_later_is_trouble_for_every_source_until_it_is_back() -> None:
    firewall = MemoryFirewall()
    kept = guard(firewall, overrides={OTHER: Policy.CALLBACK_ONLY})
    await kept.admit(SOURCE, URL, [])
    await kept.admit(OTHER, URL, [])
    firewall.chains[Family.V4]["INPUT"] = []
    firewall.refusal = "no"
    assert await kept.verify() == "no"
    assert (kept.trouble(SOURCE), kept.trouble(OTHER)) == ("no", "no")
    firewall.refusal = ""
    assert await kept.verify() != ""
    assert (kept.trouble(SOURCE), kept.trouble(OTHER)) == ("", "")
    assert await kept.verify() == ""


async def test_a_new_life_takes_over_and_clears_what_is_stale() -> None:
    firewall = MemoryFirewall()
    first = guard(firewall)
    await first.admit(SOURCE, URL, [])
    await first.admit(OTHER, URL, [])
    await guard(firewall).adopt({OTHER: (URL, [])})
    assert not firewall.ours() & set(rules.source_chains("one", SOURCE))
    assert await problem("one", [OTHER], firewall) == ""
    await guard(firewall).adopt({})
    assert firewall.ours() == set()


async def test_bytes_add_up_over_rewritten_rules() -> None:
    firewall = MemoryFirewall()
    kept = guard(firewall)
    await kept.admit(SOURCE, URL, [])
    firewall.bytes = 100
    assert await kept.verify() == ""
    # two families; sent is seen in the forward and the host's chain
    assert kept.traffic()[SOURCE] == Traffic(sent=400, received=200)
    await kept.admit(OTHER, URL, [])
    firewall.bytes = 1
    await kept.verify()
    assert kept.traffic()[SOURCE] == Traffic(sent=404, received=202)


async def test_a_callback_by_name_is_a_setting_to_correct() -> None:
    with pytest.raises(ConfigError):
        await guard(MemoryFirewall()).admit(SOURCE, "http://provider.example:4000/token", [])


async def test_no_iptables_at_all() -> None:
    with pytest.raises(EngineError) as caught:
        await Iptables(search_path="/nonexistent").read(Family.V4)
    assert caught.value.code == "engine.no_firewall"


@pytest.mark.parametrize("here", [True, False])
async def test_a_bridge_that_is_not_on_this_host_is_met_by_no_rule(here: bool) -> None:
    """An engine without root, or on another machine: its rules are in place, and hold nothing."""
    bridges = frozenset({"lo", "docker0", *([rules.bridge_name("one", SOURCE)] if here else ())})
    for unfiltered in (False, True):
        settings = EgressSettings(unfiltered=unfiltered, overrides={OTHER: Policy.NONE})
        kept = Guard("one", settings, MemoryFirewall(), resolvers=tuple, bridges=lambda: bridges)
        if here or unfiltered:
            kept.expect(SOURCE)
        else:
            with pytest.raises(EngineError) as caught:
                kept.expect(SOURCE)
            assert caught.value.code == "engine.unfiltered"
        with pytest.raises(EngineError):
            kept.expect(OTHER)
