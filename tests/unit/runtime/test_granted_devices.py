"""An author who asks for all devices gets what the operator grants, and one who counts gets what he counts."""

import pytest

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.check import EXAMPLE
from ogpu_provider.runtime.compose.gate import admit
from ogpu_provider.runtime.compose.policy import Limits

IMAGE = f"example/image@sha256:{'0' * 64}"
HEAD = f'services:\n  app:\n    image: {IMAGE}\n    ports: ["${{PORT}}:5555"]\n    '


def reserved(count: str) -> str:
    device = f"{{driver: nvidia, count: {count}, capabilities: [gpu]}}"
    return f"{HEAD}deploy: {{resources: {{reservations: {{devices: [{device}]}}}}}}\n"


@pytest.mark.parametrize("text", [reserved("all"), reserved("-1"), f"{HEAD}gpus: all\n"])
@pytest.mark.parametrize("granted", [1, 3])
def test_all_of_an_author_is_what_the_operator_grants(text: str, granted: int) -> None:
    assert admit(text.encode(), Environment.NVIDIA, EXAMPLE, Limits(granted=granted)).devices == granted


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_number_of_an_author_is_that_number(count: int) -> None:
    assert admit(reserved(str(count)).encode(), Environment.NVIDIA, EXAMPLE, Limits(granted=3)).devices == count


def test_of_amd_the_whole_directory_is_all_and_a_node_is_one() -> None:
    whole = f"{HEAD}devices: [/dev/kfd, /dev/dri]\n"
    node = f"{HEAD}devices: [/dev/kfd, /dev/dri/renderD128]\n"
    found = [admit(text.encode(), Environment.AMD, EXAMPLE, Limits(granted=2)).devices for text in (whole, node)]
    assert found == [2, 1]
