"""How long the compose gate takes and what memory: hostile files, published shapes, parser bombs. One child each.

python -m benchmarks.gate        prints a table; see docs/security.md for what is promised
"""

import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.check import check
from tests.security.test_generated_compose import bombs

FILES = Path(__file__).parents[1] / "tests" / "security"
LIMIT_MS, LIMIT_MIB = 50.0, 32.0


def measure(text: bytes) -> tuple[float, float]:
    """Milliseconds of one check, and MiB that Python held at the peak of a second one."""
    check(b"services: {}", Environment.CPU)
    started = time.perf_counter()
    check(text, Environment.CPU)
    spent = (time.perf_counter() - started) * 1000
    tracemalloc.start()
    check(text, Environment.CPU)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return spent, peak / (1 << 20)


def texts() -> dict[str, bytes]:
    found = {path.relative_to(FILES).as_posix(): path.read_bytes() for path in sorted(FILES.glob("*/*.yml"))}
    return found | {f"bomb: {name}": text for name, text in bombs().items()}


def main() -> None:
    if sys.argv[1:]:
        spent, grown = measure(texts()[sys.argv[1]])
        print(spent, grown)
        return
    rows = []
    for name, text in texts().items():
        if not name.startswith("bomb") and len(text) < 10_000:
            rows.append((*measure(text), name))
            continue
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.gate", name], capture_output=True, text=True, check=True
        )
        spent, grown = map(float, run.stdout.split())
        rows.append((spent, grown, name))
    rows.sort(reverse=True)
    for spent, grown, name in rows[:20]:
        print(f"{spent:8.2f} ms {grown:8.2f} MiB  {name}")
    over = [name for spent, grown, name in rows if spent > LIMIT_MS or grown > LIMIT_MIB]
    print(f"{len(rows)} files, over {LIMIT_MS:g} ms or {LIMIT_MIB:g} MiB: {', '.join(over) or 'none'}")


if __name__ == "__main__":
    main()
