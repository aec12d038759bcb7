"""How large the tests with a size are. A size is never a skipped assertion: the same is asserted of more.

`scripts/test` takes the middle column, `scripts/test --soak` (OGPU_SOAK=1) the last one; `scripts/mutate`
(OGPU_FEW=1) takes the first, since a defect in the code shows in few examples or in none.
"""

import os

SOAK = bool(os.environ.get("OGPU_SOAK"))
FEW = bool(os.environ.get("OGPU_FEW")) and not SOAK

SIZES: dict[str, tuple[int, int, int]] = {
    "storm tasks": (2, 50, 500),  # tests/crash/test_storm.py
    "histories": (10, 2_000, 100_000),  # tests/crash/test_invariants.py
    "transaction histories": (8, 60, 5_000),  # tests/unit/chain/test_sender.py
    "store histories": (5, 25, 1_000),  # tests/contracts/test_store.py
    "power cuts": (10, 40, 1_000),  # tests/unit/store/test_power_loss.py
    "closed intents": (2_000, 100_000, 1_000_000),  # tests/unit/store/test_old_journal.py
    "fault blocks": (50, 300, 10_000),  # tests/faults/test_rpc_faults.py
    "engine files": (1, 20, 1_000),  # tests/security/test_generated_in_engine.py
    "historic logs": (5_000, 20_000, 1_000_000),  # tests/integration/chain/test_history.py
    "api requests": (5, 40, 5_000),  # tests/unit/gateway/test_schema.py
    "callbacks": (500, 10_000, 100_000),  # tests/security/test_callback_abuse.py
    "burst tasks": (50, 1_000, 5_000),  # tests/integration/chain/test_burst.py
    "past tasks": (100, 2_000, 10_000),  # tests/integration/explain
    "lease histories": (100, 10_000, 300_000),  # tests/unit/scheduler/test_histories.py
    "compose files": (500, 5_000, 200_000),  # tests/security/test_generated_compose.py
}
SOAK_LIMIT_S = 4 * 3600
"""For one test of a soak, in place of its own limit."""


def size(name: str) -> int:
    few, default, soak = SIZES[name]
    return soak if SOAK else few if FEW else default
