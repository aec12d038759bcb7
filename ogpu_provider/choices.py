"""What an operator can set about the choice of work: which, for how much, when, and on what devices."""

from decimal import Decimal
from typing import Literal

from pydantic import Field

from ogpu_provider.values import (
    Addresses,
    BidByAddress,
    CoinAmount,
    CoinByAddress,
    Numbers,
    PriceByHours,
    Seconds,
    Section,
    SpansOfHours,
    UserPath,
)


class AdmissionRules(Section):
    min_payment: CoinAmount = Field(0, description='Lowest payment for a task, in coin, as text: "0.01".')
    min_payment_by_source: CoinByAddress = Field(
        {}, description='Per source, in place of min_payment: {"0x…" = "0.02"}.'
    )
    min_margin: CoinAmount | None = Field(
        None,
        description="What a payment must leave, in coin, after gas, energy and rate; unset: not asked. "
        '"0" declines work that costs more than it pays.',
    )
    min_margin_by_source: CoinByAddress = Field({}, description="Per source, in place of min_margin.")
    run_quantile: float = Field(
        0.9, ge=0.0, le=1.0, description="Share of a function's last runs that an estimate is to cover."
    )
    allow_clients: Addresses = Field((), description="If not empty: work for these clients only.")
    deny_clients: Addresses = Field((), description="Clients never to work for.")
    min_time_left: Seconds = Field(30.0, description="Seconds before expiry that a task must have left.")
    cpu_slots: int | None = Field(None, ge=1, le=4096, description="Tasks at once; unset: one per two processors.")
    line: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Tasks that may wait for room; of more, those worth the least a second are refused.",
    )
    patience: Seconds = Field(
        60.0, description="Seconds after which a task that waits for room goes before those that are worth more."
    )
    slots_per_source: int = Field(1, ge=1, le=4096, description="Tasks at once in one source's container.")


class Price(Section):
    """What a task costs besides gas. Energy has a price in money; coin_price makes it one in coin."""

    per_kwh: Decimal = Field(Decimal(0), ge=0, allow_inf_nan=False, description="Money for a kWh of energy.")
    per_kwh_in: PriceByHours = Field(
        {}, description='Other prices by hours of the week: {"mon-fri 22:00-06:00" = "0.21"}. The first that fits.'
    )
    coin_price: Decimal | None = Field(
        None, gt=0, allow_inf_nan=False, description="Money for one OGPU; unset: energy is not counted."
    )
    coin_price_file: UserPath | None = Field(
        None, description="File with that number, kept up to date by something else; goes before coin_price."
    )
    coin_price_max_age: Seconds = Field(
        86_400.0, description="Seconds after which an unchanged coin_price_file is reported as stale."
    )
    watts: float = Field(
        0.0, ge=0, le=100_000, description="Watts that one task draws, until its energy was metered by a card."
    )
    per_hour: CoinAmount = Field(0, description='Rate for an hour of a task\'s run, in coin: "0.5".')
    bid: str = Field(
        "percentage:100",
        description="What to ask where the client confirms: fixed:0.01 (coin), percentage:90, undercut:5 (the lowest "
        "bid seen, but 5 % above costs), win-rate:50, or an installed package's.",
    )
    bid_by_source: BidByAddress = Field({}, description='Per source, in place of bid: {"0x…" = "undercut:5"}.')


class Breakers(Section):
    limit: float = Field(
        3.0, ge=0, le=1000, description="Failures after which a source or client is left alone; 0: never."
    )
    half_life: Seconds = Field(1800.0, description="Seconds in which a failure counts half.")


class Owner(Section):
    hours: SpansOfHours = Field(
        (),
        description='When new tasks are taken, in the host\'s time: ["mon-fri 18:00-08:00", "sat,sun"]. Empty: always.',
    )
    pause_in_use: bool = Field(
        False, description="Take no new task while somebody is logged in at this machine's screen and not idle."
    )
    idle_after: Seconds = Field(300.0, description="Seconds without a touch after which such a person counts as away.")
    power_limit: float | None = Field(
        None, gt=0, le=10_000, description="Watts that a card should not exceed. Only reported: setting it needs root."
    )


class Devices(Section):
    look_every: Seconds = Field(10.0, le=600, description="Seconds between two readings of the host's devices.")
    foreign: Literal["withhold", "ignore"] = Field(
        "withhold",
        description="A card that somebody else's program uses (a game): withhold takes no new work on it meanwhile.",
    )
    desktop_mib: int = Field(
        1024, ge=0, description="MiB of a card that a program which only draws may take and still be the desktop."
    )
    share: bool = Field(
        False,
        description="Put several sources on one card where the memory that each was seen to take fits together. A "
        "source has a card alone until one of its tasks was done there, and where it takes several cards.",
    )
    share_reserve_mib: int = Field(1024, ge=0, description="MiB of a shared card that no source is given.")


class Health(Section):
    """When a card is cordoned: it takes no new work until a test passes or `devices uncordon`."""

    xid_ignored: Numbers = Field((), description="Xid errors of the NVIDIA driver that are never held against a card.")
    ecc_uncorrected: int = Field(1, ge=0, description="New uncorrected memory errors that cordon a card; 0: never.")
    max_temperature: float | None = Field(
        None, gt=0, le=150, description="Celsius; unset: where the card slows itself down, if it says so."
    )
    pcie_share: float = Field(
        1.0, ge=0, le=1, description="Least share of the PCIe lanes that card and slot can have; 0: any number will do."
    )
    hold: Seconds = Field(60.0, description="Seconds for which heat or missing lanes must last.")
    retest_after: Seconds = Field(600.0, description="Seconds from a cordon to a test of the card, and between tests.")
    returns: int = Field(
        3, ge=0, le=100, description="Cordons of a card within a day that tests may lift; then only the operator may."
    )
