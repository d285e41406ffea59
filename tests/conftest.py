"""What every test may use: the fixtures and rules themselves live in ``support``."""

pytest_plugins = ["support.reality", "support.realslurm"]
