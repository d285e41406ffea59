"""Where ``benchctl`` begins: Ctrl-C ends it quietly also while its own modules are being read."""

from __future__ import annotations

INTERRUPTED = 130  # the shell's status for a command that Ctrl-C ended


def main() -> int:
    """Run one command; return the exit status."""
    try:
        from benchd.cli.ctl import main as command  # noqa: PLC0415 - reading it is what takes long
    except KeyboardInterrupt:
        return INTERRUPTED
    return command()
