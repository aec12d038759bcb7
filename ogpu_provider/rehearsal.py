"""From the settings, the host and what was learnt to a replay of the past: for `simulate` and `why-idle`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ogpu_provider import policies
from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.learnt import KEPT, Fact, Key, Knowledge, Learnt
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.source import Environment, ServedSource, SourceParams, SourceState
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.verdict import Ruling
from ogpu_provider.domain.wish import Want, Wish
from ogpu_provider.scheduler.assessment import Assessment
from ogpu_provider.scheduler.competition import Competition
from ogpu_provider.scheduler.course import Course
from ogpu_provider.scheduler.placement import choose_environment
from ogpu_provider.scheduler.replay import Plan, Replay
from ogpu_provider.scheduler.runs import Runs
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.scheduler.seats import Stand, candidate_of
from ogpu_provider.scheduler.sharing import Sharing
from ogpu_provider.settings import Settings

_PASSING = frozenset({"capacity.devices", "source.cooled", "source.leaving"})
"""What stands against a source in the journal for a while only, and is replayed."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the journal knows. `ours`: our responses. `functions`: what tasks asked for, by address in lower case.

    What is true of this host alone is left empty for one that is only described.
    """

    served: Sequence[ServedSource] = ()
    wishes: Sequence[Wish] = ()
    learnt: Sequence[Learnt] = ()
    ours: Collection[Address] = ()
    functions: Mapping[Address, str] = field(default_factory=dict)

    def row(self, source: Address) -> ServedSource | None:
        return next((row for row in self.served if row.address == source), None)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """`terms`: every source of the past, None where its terms could not be read. `durations`: seconds from attempt to

    response as the chain shows them, by source. `others`: see Competition. `coin_price`: in place of the settings'.
    """

    settings: Settings
    host: Host
    record: Record
    terms: Mapping[Address, SourceParams | None]
    durations: Mapping[Address, Sequence[int]] = field(default_factory=dict)
    others: bool = True
    coin_price: Fraction | None = None

    def replay(self, begin: float) -> Replay:
        return Replay(self.plan(), self.assessment(), self.runs(), begin)

    def plan(self) -> Plan:
        settings, knowledge = self.settings, self.knowledge()
        attempt, submit = (_gas(knowledge, effect) for effect in (Effect.ATTEMPT, Effect.SUBMIT_RESPONSE))
        ours = frozenset(Address(one.lower()) for one in self.record.ours)
        return Plan(
            host=self.host,
            policy=policies.admission_policy(settings),
            course=Course(
                competition=Competition(self.others, ours),
                response_margin=settings.execution.response_margin,
                max_run=settings.execution.max_run,
                attempt_gas=attempt or 0,
                submit_gas=submit or 0,
            ),
            stands=self.stands(),
            line=policies.line_policy(settings),
            sharing=self.sharing(),
            idle_after=settings.sources.idle_after,
        )

    def sharing(self) -> Sharing | None:
        """What a source holds of a card by the journal, it takes here; one that holds none takes a whole one."""
        peaks = Knowledge(
            Learnt(Key(Fact.PEAK_MEMORY, row.address, card), 1, row.device_memory, (float(row.device_memory),))
            for row in self.record.served
            for card in {device.name for device in self.host.devices}
            if row.device_memory
        )
        return policies.sharing(self.settings, peaks)

    def gas_known(self) -> bool:
        return self.assessment().gas() is not None

    def knowledge(self) -> Knowledge:
        """What was learnt, with a run time for each source whatever the function: the chain's past names none.

        A source that never ran here runs as long as the chain shows.
        """
        known = Knowledge(self.record.learnt)
        for source in self.terms:
            seen = self._learnt(Fact.RUN, source) or [float(took) for took in self.durations.get(source, ())]
            for fact, samples in ((Fact.RUN, seen), (Fact.ENERGY, self._learnt(Fact.ENERGY, source))):
                if samples:
                    key = Key(fact, source, "")
                    known.put(Learnt(key, len(samples), max(samples), tuple(samples[-KEPT:])))
        return known

    def assessment(self) -> Assessment:
        price = self.coin_price
        told = None if price is None else lambda: price
        return Assessment(policies.assessment_policy(self.settings), self.knowledge(), coin_price=told)

    def runs(self) -> Runs:
        return Runs(self.record.learnt, self.record.functions, self.durations)

    def stands(self) -> dict[Address, Stand]:
        """First those that hold devices now, then as the settings list them, then by address."""
        listed = self.settings.sources.serve
        order = [row.address for row in self.record.served if row.devices]
        order += [] if listed == "all" else [Address(one) for one in listed]
        rank = {address: place for place, address in enumerate(dict.fromkeys(order))}
        found = {source: params for source, params in self.terms.items() if params is not None}
        return {
            source: self.stand(found[source])
            for source in sorted(found, key=lambda one: (rank.get(one, len(rank)), one.lower()))
        }

    def stand(self, params: SourceParams) -> Stand:
        row = self.record.row(params.address)
        environment = row.environment if row and row.environment in self.host.environments else None
        environment = environment or choose_environment(params.environments, self.host)
        wanted = 1 if environment not in (None, Environment.CPU) else 0
        unfit = row is not None and row.state is SourceState.UNFIT and row.code not in _PASSING
        return Stand(
            params,
            environment,
            devices=len(row.devices) or wanted if row and environment is row.environment else wanted,
            images=(params.address,) if row and row.device_memory else (),
            refusal=self.refusal(params.address),
            problem=f"{row.code}: {row.reason}" if row and unfit else "",
        )

    def refusal(self, source: Address) -> Ruling | None:
        """Why the operator does not serve a source; None: it is served."""
        chosen = policies.source_policy(self.settings)
        wish = next((one.want for one in self.record.wishes if one.source == source), None)
        if source in chosen.denied:
            text = f"source {source} is on the deny list"
            return Ruling("list.denied", False, text, f"sources.deny without {source}")
        if wish in (Want.LEAVE, Want.UNREGISTER):
            return Ruling("source.leaving", False, f"the operator removed source {source}")
        if wish is Want.SERVE or chosen.wants(source):
            return None
        text = f"source {source} is not served"
        return Ruling("source.not_served", False, text, f"sources.serve with {source}")

    def judge(self) -> Callable[[PastTask, Stand], tuple[Ruling, ...]]:
        """What the rules would have said of a task when it was published, its source being up."""
        assessment = self.assessment()
        scheduler = HostScheduler(self.host, policies.admission_policy(self.settings), assessment.circumstances)

        def rulings(task: PastTask, stand: Stand) -> tuple[Ruling, ...]:
            return scheduler.judge(candidate_of(task, stand, task.at)).rulings

        return rulings

    def _learnt(self, fact: Fact, source: Address) -> list[float]:
        """The samples of all functions of a source."""
        return [
            sample
            for learnt in self.record.learnt
            if learnt.key.fact is fact and learnt.key.subject == source
            for sample in learnt.recent
        ]


def _gas(knowledge: Knowledge, effect: Effect) -> Wei | None:
    found = knowledge.quantile(0.5, Fact.GAS, effect)
    return None if found is None else int(found)
