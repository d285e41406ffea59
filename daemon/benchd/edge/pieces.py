"""Several small files in one answer: the format in which remote commands show directories.

A piece is ``<label> <bytes> <mtime>`` on a line, then so many bytes, then a newline. One command
can thus answer for many files, whatever stands in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Bytes of one file shown at most: exit.json has 120, sbatch's messages a few hundred.
_SHOWN = 65536

# say LABEL TEXT; put LABEL FILE (nothing when there is none); link LABEL SYMLINK. Lengths are
# bytes because every shell of ours runs with LC_ALL=C. One line: tcsh takes no other.
FUNCTIONS = (
    'say() { printf \'%s %s %s\\n%s\\n\' "$1" "${#2}" "${3:-0}" "$2"; }; '
    f'put() {{ [ -f "$2" ] || return 0; v=$(head -c {_SHOWN} "$2"; echo x); v="${{v%x}}"; '
    'say "$1" "$v" "$(stat -c %Y "$2")"; }; '
    'link() { v=$(readlink "$2") || return 0; say "$1" "$v"; }; '
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One file as it was shown. ``at``: its last change by the file server's clock."""

    data: bytes
    at: float

    @property
    def text(self) -> str:
        """The content as text, without the white space around it."""
        return self.data.decode("utf-8", "replace").strip()


def parse(answer: bytes) -> Mapping[str, Piece]:
    """Read an answer made by ``FUNCTIONS``; raise ``ValueError`` when it is not whole."""
    found: dict[str, Piece] = {}
    at = 0
    while at < len(answer):
        end = answer.find(b"\n", at)
        words = answer[at:end].split() if end >= 0 else []
        if len(words) != 3 or not (words[1].isdigit() and words[2].isdigit()):
            raise ValueError(f"not a piece: {answer[at : at + 80]!r}")
        size = int(words[1])
        data = answer[end + 1 : end + 1 + size]
        if len(data) < size or answer[end + 1 + size : end + 2 + size] != b"\n":
            raise ValueError(f"piece {words[0]!r} is cut")
        found[words[0].decode("ascii", "replace")] = Piece(data, float(words[2]))
        at = end + 2 + size
    return found
