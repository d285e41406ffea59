"""The exception tree, named by what the caller should do.

``UserError`` is shown as it is, without a traceback, and costs nothing else. ``Unreachable`` means
that nothing was learned: wait, and move no state. Library errors are wrapped at the edge, ``from``
their cause.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class BenchdError(Exception):
    """Base of everything benchd raises on purpose."""


class UserError(BenchdError):
    """The user asked for something that cannot be; the message says what, and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake in a file the user wrote. Line and column count from 1; 0 means unknown."""

    line: int
    column: int
    path: str
    what: str

    def render(self, file: str) -> str:
        """Return ``file:line:col: path: what``, the form editors can jump to."""
        place = f"{file}:{self.line}:{self.column}" if self.line else file
        return f"{place}: {self.path}: {self.what}" if self.path else f"{place}: {self.what}"


class DocumentError(UserError):
    """A YAML document with mistakes: all of them at once, in the order of their lines."""

    def __init__(self, file: str, mistakes: Iterable[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(m.render(file) for m in self.mistakes))


class RecipeError(DocumentError):
    """A recipe that cannot be accepted."""


class ConfigError(DocumentError):
    """A configuration that cannot be used."""


class ClusterError(BenchdError):
    """Something about a cluster; which subclass says what to do."""


class Unreachable(ClusterError):
    """Nothing was learned: link, shell or controller did not answer. Wait, and move nothing.

    ``sent`` is False only when the command surely never reached the login node.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class NotYet(Unreachable):
    """The cluster answers well, but what was asked for is not there yet: come back later.

    No trouble of the link: nothing else has to wait for it.
    """


class NeedsHuman(Unreachable):
    """Authentication or host key failed: trying again could get the account blocked.

    The cluster is paused until ``benchctl cluster resume``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class TakenOver(NeedsHuman):
    """Somebody else has written the workdir in our name: only a human knows whether he still does.

    The cluster is paused until ``benchctl cluster resume NAME --take-over``.
    """


class StoreError(BenchdError):
    """The store did not do what was asked; nothing was written."""


class StoreUnusable(StoreError):
    """The state directory cannot be used as it is: damaged, newer than us, or on a shared disk.

    Starting again cannot help: a human must look.
    """


class StoreBroken(StoreError):
    """The disk failed while we worked: stop at once, and look at the file anew when starting."""


class StoreFull(StoreError):
    """The disk under the state directory is full; nothing was written, reads go on."""


class Stale(StoreError):
    """Somebody else moved the row first (compare-and-set lost): read again, decide again."""
