"""The command line with a kill point armed: `python -m tests.crash.armed POINT run ...`."""

import sys

from ogpu_provider.cli.main import main
from ogpu_provider.domain.killpoints import arm

if __name__ == "__main__":
    arm(sys.argv.pop(1))
    main()
