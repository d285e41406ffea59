"""The generated parts of ``docs/reference/slurm.md``: Slurm's words, as the code knows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchd.core.slurm_errors import ERRORS, Complaint
from benchd.core.slurm_reasons import ACTIONS, REASONS, Reason, ReasonClass, known_reasons
from benchd.core.slurm_versions import VERSIONS, Known
from benchd.core.slurm_words import STATE_ROWS, Act

Table = tuple[Sequence[str], Iterable[Sequence[str]]]

_ACTS = {
    Act.PENDING: "pending",
    Act.RUNNING: "running",
    Act.ALIVE: "no move",
    Act.COMPLETED: "completed",
    Act.FAILED: "failed",
    Act.CANCELLED: "cancelled",
    Act.REQUEUEABLE: "no move while Slurm may requeue it, then failed",
}
_COMPLAINTS = {
    Complaint.AMBIGUOUS: "it may be: benchd looks for it by its name, and does not just repeat",
    Complaint.RETRY: "no: tried again later, eight times at most",
    Complaint.QUOTA: "no: tried again for a day, one job for all under the same limit",
    Complaint.PERMANENT: "no, and never will be: FAILED `REFUSED`",
}
_KNOWN = {Known.RUN: "run by the tests", Known.READ: "constructed: its source was compared"}


def states() -> Table:
    """Return every state."""
    rows = []
    for row in STATE_ROWS:
        act = _ACTS[row.act] + (f", {row.substate}" if row.substate else "")
        rows.append([f"`{row.word}`", f"`{row.compact}`" if row.compact else "", act, row.meaning])
    return ("Slurm's word", "short", "for benchd", "it means"), rows


def classes() -> Table:
    """Return what is done about each class of reason."""
    count = {cls: sum(row.cls is cls for row in REASONS.values()) for cls in ReasonClass}
    rows = [[f"`{cls}`", str(count[cls]), ACTIONS[cls]] for cls in ReasonClass]
    return ("class", "words", "what benchd does"), rows


def reasons() -> Table:
    """Return every word, those of one class and meaning together."""
    return ("reason", "class", "it means", "what helps"), _together(known_reasons()[: len(REASONS)])


def texts() -> Table:
    """Return examples of the free text that Slurm writes in place of a word."""
    rows = known_reasons()[len(REASONS) :]
    return ("for example", "class", "it means", "what helps"), _together(rows)


def _together(rows: Iterable[Reason]) -> list[list[str]]:
    alike: dict[tuple[ReasonClass, str, str], list[str]] = {}
    for row in rows:
        alike.setdefault((row.cls, row.meaning, row.fix), []).append(f"`{row.word}`")
    order = list(ReasonClass)
    found = sorted(alike.items(), key=lambda item: order.index(item[0][0]))
    return [[", ".join(words), str(cls), says, fix] for (cls, says, fix), words in found]


def errors() -> Table:
    """Return every complaint of sbatch."""
    order = list(Complaint)
    rows = sorted(ERRORS, key=lambda row: order.index(row.complaint))
    return (
        ("sbatch says (regular expression)", "is it in the queue?", "what helps"),
        [[f"`{row.pattern}`", str(row.complaint), row.fix] for row in rows],
    )


def complaints() -> Table:
    """Return what each kind of complaint means."""
    return ("", "is the job in the queue?"), [[f"`{c}`", text] for c, text in _COMPLAINTS.items()]


def versions() -> Table:
    """Return every release and how it is known."""
    rows = [[row.release, _KNOWN[row.known], row.differs] for row in VERSIONS]
    return ("release", "how it is known", "what differs"), rows
