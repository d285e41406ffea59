"""Run from a checkout: ``python -m benchd.ship.spark``."""

import sys

from .cli import main

sys.exit(main())
