"""Run from a checkout: ``python -m benchd.ship.exporter``."""

import sys

from .cli import main

sys.exit(main())
