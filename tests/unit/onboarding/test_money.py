"""Addresses and amounts as people type them."""

import pytest

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.onboarding.money import address, amount

GOOD = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


def test_an_address_in_any_case_is_one() -> None:
    assert address(f" {GOOD} ", "--x") == address(GOOD.lower(), "--x") == GOOD


@pytest.mark.parametrize("text", ["", "0x", GOOD[:-1], GOOD.replace("C44C", "c44C"), "name.eth"])
def test_a_mistyped_address_names_its_flag(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        address(text, "--master")
    assert "--master" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "-1", "1e-19", "ten", "nan"])
def test_a_mistyped_amount(text: str) -> None:
    assert amount("12.5", "--x") == 125 * 10**17
    with pytest.raises(ConfigError):
        amount(text, "--lockup")
