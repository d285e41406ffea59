"""What ``benchd`` prints goes to whoever reads it, as long as they do."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_reader_that_has_gone_is_no_mistake() -> None:
    """A command whose output nobody reads ends quietly, as `benchd schema recipe | true` should."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "benchd.cli.daemon", "schema", "recipe"]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (0, b"") == (done.returncode, done.stderr)
