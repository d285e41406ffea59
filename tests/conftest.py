"""What every test may use: the fixtures and rules themselves live in ``support``."""

import signal

pytest_plugins = ["support.logs", "support.reality", "support.realslurm"]

# A shell without job control starts what it puts into the background with SIGINT ignored, and every
# child inherits that: tests that interrupt something would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
