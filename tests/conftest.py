"""What every test may use: the fixtures and rules themselves live in ``support``."""

pytest_plugins = ["support.logs", "support.reality", "support.realslurm"]
