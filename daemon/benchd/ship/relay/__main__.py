"""Run from a checkout: ``python -m benchd.ship.relay``."""

import sys

from .cli import main

sys.exit(main())
