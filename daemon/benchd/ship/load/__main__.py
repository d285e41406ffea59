"""Entry point of ``python3 -m`` in a source tree."""

import sys

from .cli import main

sys.exit(main())
