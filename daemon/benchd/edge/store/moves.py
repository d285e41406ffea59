"""How a job moves in the store: compare-and-set, and a row in its history."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from benchd.core.model import Evidence, Job
from benchd.edge.store import rows
from benchd.edge.store import statements as sql
from benchd.edge.store.connection import Statements
from benchd.errors import Stale, StoreError

NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change of one job, and what it rests on. Unless given, ``words`` are the states."""

    old: Job
    new: Job
    trigger: str
    at: float
    evidence: Evidence = NO_EVIDENCE
    words: tuple[str, str] | None = None


def perform(tx: Statements, move: Move) -> Job:
    """Change the row if it still is what ``old`` says, and append the move to its history.

    A change of the probes' tally alone is no move: it keeps the revision and leaves no history.
    """
    old = move.old
    changes = rows.changes(old, move.new)
    if rows.SCRIPT in changes:  # the database itself guards the columns of the row
        message = f"refused by an invariant of the store: the script of {old.token} never changes"
        raise StoreError(message)
    is_move = not rows.VOLATILE.issuperset(changes)
    new = replace(move.new, rev=old.rev + 1 if is_move else old.rev)
    values = {**changes, "rev": new.rev} if is_move else changes
    was = {"old_token": old.token, "old_rev": old.rev, "old_state": old.state.value}
    if not tx.rows(sql.change_job(values), {**values, **was}):
        message = f"{old.token} is no longer {old.state} at revision {old.rev}: read it again"
        raise Stale(message)
    if is_move:
        old_word, new_word = move.words or (old.state.value, new.state.value)
        row = {
            "token": old.token,
            "rev": new.rev,
            "at": move.at,
            "trigger": move.trigger,
            "old": old_word,
            "new": new_word,
            "evidence": rows.evidence_text(move.evidence),
            "changes": json.dumps(changes, ensure_ascii=False, separators=(",", ":")),
        }
        tx.rows(sql.ADD_TRANSITION, row)
    return new
