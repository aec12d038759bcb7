"""The settings, put into the terms of each part of the daemon."""

import os
from collections.abc import Iterable, Mapping
from fractions import Fraction

from ogpu_provider.domain.approval import OnChange
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.learnt import Knowledge
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.week import hours
from ogpu_provider.pipeline.ports import Policy
from ogpu_provider.pipeline.pressure import PressurePolicy
from ogpu_provider.pipeline.wishes import SourcePolicy
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.egress.guard import EgressSettings
from ogpu_provider.runtime.egress.rules import Policy as Egress
from ogpu_provider.runtime.isolation import Isolation, IsolationSettings
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.scheduler.assessment import AssessmentPolicy
from ogpu_provider.scheduler.bids import Bid, strategy
from ogpu_provider.scheduler.breakers import BreakerPolicy
from ogpu_provider.scheduler.health import HealthPolicy
from ogpu_provider.scheduler.line import LinePolicy
from ogpu_provider.scheduler.price import Tariff, Terms
from ogpu_provider.scheduler.requirements import SlotLimits
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.sharing import Sharing
from ogpu_provider.scheduler.strangers import StrangerPolicy
from ogpu_provider.settings import Settings


def cpu_slots(settings: Settings, cpus: float | None = None) -> int:
    """Tasks at once; `cpus`: the processors that containers can have, unset: those of this host."""
    return settings.admission.cpu_slots or max(1, int(cpus or os.cpu_count() or 2) // 2)


def health_policy(settings: Settings) -> HealthPolicy:
    chosen = settings.health
    return HealthPolicy(
        xid_ignored=frozenset(chosen.xid_ignored),
        ecc_uncorrected=chosen.ecc_uncorrected,
        max_temperature=chosen.max_temperature,
        pcie_share=chosen.pcie_share,
        hold=chosen.hold,
        retest_after=chosen.retest_after,
        returns=chosen.returns,
    )


def stranger_policy(settings: Settings) -> StrangerPolicy:
    return StrangerPolicy(settings.devices.foreign == "withhold", settings.devices.desktop_mib << 20)


def admission_policy(settings: Settings) -> AdmissionPolicy:
    chosen = settings.admission
    return AdmissionPolicy(
        min_payment=chosen.min_payment,
        min_payment_by_source=_by_source(chosen.min_payment_by_source),
        min_margin=chosen.min_margin,
        min_margin_by_source=_by_source(chosen.min_margin_by_source),
        min_time_left=chosen.min_time_left,
        deny_sources=_addresses(settings.sources.deny),
        allow_clients=_addresses(chosen.allow_clients),
        deny_clients=_addresses(chosen.deny_clients),
        slots=SlotLimits(cpu_per_source=chosen.slots_per_source, gpu_per_device=chosen.slots_per_source),
    )


def assessment_policy(settings: Settings) -> AssessmentPolicy:
    price, breakers = settings.price, settings.breakers
    windows = tuple((hours(span), Fraction(cost)) for span, cost in price.per_kwh_in.items())
    return AssessmentPolicy(
        quantile=settings.admission.run_quantile,
        terms=Terms(
            tariff=Tariff(Fraction(price.per_kwh), windows),
            coin_price=None if price.coin_price is None else Fraction(price.coin_price),
            watts=price.watts,
            hour_rate=price.per_hour,
        ),
        breakers=BreakerPolicy(breakers.limit, breakers.half_life),
        bid=_bid(price.bid, "price.bid"),
        bid_by_source={
            Address(source): _bid(text, f"price.bid_by_source.{source}") for source, text in price.bid_by_source.items()
        },
        hours=tuple(hours(span) for span in settings.owner.hours),
    )


def _bid(text: str, setting: str) -> Bid:
    """Raises ConfigError for a strategy that there is none of: packages that offer some are looked for only here."""
    try:
        return strategy(text)
    except Exception as error:  # a strategy of somebody else's may raise anything
        raise ConfigError(f"{setting} = {text!r}: {error}", code="config.bid") from error


def line_policy(settings: Settings) -> LinePolicy:
    return LinePolicy(settings.admission.line, settings.admission.patience)


def sharing(settings: Settings, knowledge: Knowledge) -> Sharing | None:
    """How sources may share cards; None: they may not."""
    return Sharing(knowledge, settings.devices.share_reserve_mib << 20) if settings.devices.share else None


def source_policy(settings: Settings) -> SourcePolicy:
    serve = settings.sources.serve
    listed = frozenset() if serve == "all" else _addresses(serve)
    return SourcePolicy(
        serve_all=serve == "all",
        listed=listed,
        denied=_addresses(settings.sources.deny),
        compose_change=OnChange(settings.sources.on_change),
        idle_after=settings.sources.idle_after,
        warm_for=settings.sources.warm_for,
    )


def pressure_policy(settings: Settings) -> PressurePolicy:
    return PressurePolicy(settings.sources.memory_free, settings.sources.device_memory_free)


def path_policy(settings: Settings) -> Policy:
    return Policy(
        response_margin=settings.execution.response_margin,
        max_run=settings.execution.max_run,
        confirmations=settings.network.confirmations,
    )


def egress_settings(settings: Settings) -> EgressSettings:
    overrides = {Address(source): Egress(policy) for source, policy in settings.sources.egress.items()}
    return EgressSettings(Egress(settings.runtime.egress), overrides, unfiltered=settings.unfiltered_egress)


def isolation_settings(settings: Settings) -> IsolationSettings:
    overrides = {Address(source): Isolation(level) for source, level in settings.sources.isolation.items()}
    return IsolationSettings(Isolation(settings.runtime.isolation), overrides)


def compose_limits(settings: Settings) -> Limits:
    return Limits(
        private_registries=settings.network.allow_private_urls, registries=frozenset(settings.images.registries)
    )


def project_settings(settings: Settings, provider: Address) -> ProjectSettings:
    return ProjectSettings(
        instance=settings.runtime.instance,
        data_dir=settings.data_dir,
        provider=provider,
        granted={Address(source): count for source, count in settings.sources.devices.items()},
        ready_timeout=settings.execution.ready_timeout,
        restarts=settings.execution.restarts,
        tags_every=settings.images.check_every,
        isolation=isolation_settings(settings),
        limits=compose_limits(settings),
    )


def _by_source(amounts: Mapping[str, Wei]) -> dict[Address, Wei]:
    return {Address(source): amount for source, amount in amounts.items()}


def _addresses(texts: Iterable[str]) -> frozenset[Address]:
    return frozenset(Address(text) for text in texts)
