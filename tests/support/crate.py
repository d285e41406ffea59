"""A stand-in for a container runtime: it counts what it brings, and runs commands on the host.

It is no product and tests nothing of one; it is called by the name under which benchd looks for a
runtime, so that what benchd does around a runtime can be watched.
"""

from __future__ import annotations

import os
from pathlib import Path

# pull FILE SOURCE; exec [OPTIONS] IMAGE COMMAND... with variables named APPTAINERENV_X as X.
_PROGRAM = """#!/bin/bash
here={here}
case $1 in
pull)
    printf '%s\\n' "$3" >>"$here/pulls"
    while [ -e "$here/hold" ]; do sleep 0.05; done
    if [ -e "$here/broken" ]; then
        echo "INFO: asking for $3" >&2
        echo "FATAL: no such image on the shelf" >&2
        exit 255
    fi
    printf '%s, number %s\\n' "$3" "$(wc -l <"$here/pulls")" >"$2"
    ;;
exec)
    shift
    while :; do
        case $1 in
        --bind | --pwd) shift 2 ;;
        --*) shift ;;
        *) break ;;
        esac
    done
    [ -r "$1" ] || {{ echo "FATAL: no image $1" >&2; exit 255; }}
    shift
    for name in "${{!APPTAINERENV_@}}"; do export "${{name#APPTAINERENV_}}=${{!name}}"; done
    exec "$@"
    ;;
*) exit 2 ;;
esac
"""


class Crate:
    """The program in a directory of its own, with switches and a count."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        self.bin.mkdir(parents=True)
        program = self.bin / "apptainer"
        program.write_text(_PROGRAM.format(here=directory))
        program.chmod(0o755)

    @property
    def path(self) -> str:
        """PATH with the program in front."""
        return f"{self.bin}:{os.environ['PATH']}"

    @property
    def pulls(self) -> list[str]:
        """What was asked for, in order."""
        file = self.directory / "pulls"
        return file.read_text().splitlines() if file.exists() else []

    def hold(self) -> None:
        """Let every pull from now on take until ``release``."""
        (self.directory / "hold").touch()

    def release(self) -> None:
        """Let pulls end."""
        (self.directory / "hold").unlink()

    def break_down(self) -> None:
        """Let every pull from now on fail."""
        (self.directory / "broken").touch()
