"""The command line with a kill point behind SIGUSR1: `python -m tests.crash.armed FILE run ...`.

On the signal, the point that FILE names is armed, and FILE is removed as a sign of it.
"""

import signal
import sys
from pathlib import Path

from ogpu_provider.domain.killpoints import arm

if __name__ == "__main__":
    file = Path(sys.argv.pop(1))

    def take(number: int, frame: object) -> None:
        arm(file.read_text().strip())
        file.unlink()

    signal.signal(signal.SIGUSR1, take)
    from ogpu_provider.cli.main import main

    main()
