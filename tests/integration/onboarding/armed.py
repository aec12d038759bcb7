"""The command line with a kill point armed from the start: `python -m tests.integration.onboarding.armed POINT …`."""

import sys

from ogpu_provider.cli.main import main
from ogpu_provider.domain.killpoints import arm

if __name__ == "__main__":
    arm(sys.argv.pop(1))
    main()
