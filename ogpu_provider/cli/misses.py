"""How missed tasks are shown: by the reason that decided, each with the settings that would have taken them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ogpu_provider.cli.screen import amount, line, table
from ogpu_provider.domain.units import coin

if TYPE_CHECKING:
    from ogpu_provider.scheduler.missed import Group
    from ogpu_provider.scheduler.takings import Sum

SHOWN = 5
"""Settings of one reason; --json has them all."""


def group_document(group: "Group") -> dict[str, Any]:
    return {
        "code": group.code,
        "tasks": group.tasks,
        "worth_wei": group.worth,
        "worth": coin(group.worth),
        "alone": {"tasks": group.alone, "worth_wei": group.alone_worth},
        "latest": group.text,
        "settings": group.lines,
    }


def sum_document(one: "Sum") -> dict[str, Any]:
    return {"tasks": one.tasks, "worth_wei": one.worth, "worth": coin(one.worth)}


def show_groups(groups: Sequence["Group"]) -> None:
    """The dearest first."""
    rows = [(group.code, group.tasks, amount(group.worth), group.alone, amount(group.alone_worth)) for group in groups]
    table(("REASON", "TASKS", "WORTH", "THIS ALONE", "WORTH"), rows)
    print()
    for group in groups:
        line(f"{group.code}: {group.text}")
        settings = group.lines
        for setting in settings[:SHOWN]:
            line(f"would have been taken with: {setting}", 2)
        if len(settings) > SHOWN:
            print(f"  and {len(settings) - SHOWN} more (--json lists them)")
        if not settings:
            print("  no setting would have taken it")
