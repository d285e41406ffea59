"""Every statement that the store sends after its tables exist, by name.

``:name`` parameters carry all values. The few statements that are put together here are made of
column names that this package knows itself, never of anything that came from outside.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchd.edge.store.rows import JOB_COLUMNS, RUN_COLUMNS, SCRIPT


def _insert(table: str, columns: Iterable[str], tail: str = "") -> str:
    names = tuple(columns)
    marks = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) {tail}"  # noqa: S608 -- own column names


# The columns of `jobs`; the script, which is large and seldom wanted, has a table of its own.
_JOB = tuple(name for name in JOB_COLUMNS if name != SCRIPT)

BEGIN_WRITE = "BEGIN IMMEDIATE"
BEGIN_READ = "BEGIN"
# One write among those that share a transaction.
MARK_ONE, UNDO_ONE, KEEP_ONE = "SAVEPOINT one", "ROLLBACK TO one", "RELEASE one"

# --- writes ---------------------------------------------------------------------------------------

# ON CONFLICT: the second look at one drop is harmless, and shows by returning no row.
ADD_RUN = _insert("runs", RUN_COLUMNS, "ON CONFLICT DO NOTHING RETURNING id")
ADD_JOB = _insert("jobs", (*_JOB, "born"))
ADD_RETRY = _insert("jobs", (*_JOB, "born"), "ON CONFLICT DO NOTHING RETURNING token")
ADD_SCRIPT = _insert("scripts", ("token", SCRIPT))

ADD_TRANSITION = """
INSERT INTO transitions (token, rev, at, trigger, old, new, evidence, changes)
VALUES (:token, :rev, :at, :trigger, :old, :new, :evidence, :changes)
"""

ADD_RESULT = """
INSERT INTO results (token, collected_at, valid, sha256, document)
VALUES (:token, :now, :valid, :sha256, :document)
ON CONFLICT DO NOTHING RETURNING token
"""

ADD_COMMAND = """
INSERT INTO commands (at, uid, line, ok, answer) VALUES (:now, :uid, :line, :ok, :answer)
"""

SET_META = """
INSERT INTO meta (key, value) VALUES (:key, :value)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

CANCEL_RUN = """
UPDATE runs SET cancel_requested_at = :now
WHERE id = :id AND cancel_requested_at IS NULL AND finished_at IS NULL RETURNING id
"""

FINISH_RUN = """
UPDATE runs SET finished_at = :now, outcome = :outcome, why = :why
WHERE id = :id AND finished_at IS NULL AND NOT EXISTS (
  SELECT 1 FROM jobs WHERE run_id = :id AND state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')
) RETURNING id
"""

REOPEN_RUN = """
UPDATE runs SET finished_at = NULL, outcome = NULL, why = NULL, cancel_requested_at = NULL,
                reopened_at = :now
WHERE id = :id
"""

MARK_RUN_DIR = """
UPDATE runs SET dir_made_at = :now WHERE id = :id AND dir_made_at IS NULL RETURNING id
"""

FORGET_RUN_DIR = """
UPDATE runs SET dir_made_at = NULL WHERE id = :id AND finished_at IS NOT NULL RETURNING id
"""


def change_job(columns: Iterable[str]) -> str:
    """Return the compare-and-set that changes these columns of one job, or no row at all."""
    names = tuple(columns)
    if unknown := set(names) - set(_JOB):
        message = f"jobs has no columns {sorted(unknown)}"
        raise ValueError(message)
    assignments = ", ".join(f"{name} = :{name}" for name in names)
    return (
        f"UPDATE jobs SET {assignments} "  # noqa: S608 -- names checked against _JOB above
        "WHERE token = :old_token AND rev = :old_rev AND state = :old_state RETURNING rev"
    )


# --- reads ----------------------------------------------------------------------------------------

META = "SELECT value FROM meta WHERE key = :key"
RUN = "SELECT * FROM runs WHERE id = :id"
RUNS = "SELECT * FROM runs ORDER BY rowid DESC LIMIT :limit"
ROW = "SELECT * FROM jobs WHERE token = :token"
JOB = "SELECT * FROM jobs JOIN scripts USING (token) WHERE token = :token"

JOBS = "SELECT * FROM jobs WHERE :state IS NULL OR state = :state ORDER BY rowid"
JOBS_OF_RUN = """
SELECT * FROM jobs WHERE run_id = :run AND (:state IS NULL OR state = :state) ORDER BY rowid
"""

COUNTS = """
SELECT cluster, role, state, count(*) AS jobs FROM jobs GROUP BY cluster, role, state
"""

TRANSITIONS = "SELECT * FROM transitions WHERE token = :token ORDER BY rev"

RESULTS = "SELECT document FROM results ORDER BY rowid"
RESULT = "SELECT document FROM results WHERE token = :token"
RESULTS_OF_RUN = """
SELECT r.document FROM jobs AS j JOIN results AS r USING (token) WHERE j.run_id = :run
ORDER BY r.rowid
"""

# --- the world, and what changed in it since ------------------------------------------------------

MARKS = """
SELECT (SELECT max(rowid) FROM jobs) AS job, (SELECT max(id) FROM transitions) AS move,
       (SELECT max(rowid) FROM results) AS result
"""

# Without the recipe's text: a world has many runs, and nobody reads it there.
_RUN = ", ".join(name for name in RUN_COLUMNS if name != "recipe")
UNFINISHED_RUNS = f"SELECT {_RUN} FROM runs WHERE finished_at IS NULL ORDER BY rowid"  # noqa: S608 -- own column names

# All jobs of unfinished runs, and whatever else is not over: a service may outlive its run's wish
# to end, and another run's client may be measuring it.
WORLD_JOBS = """
SELECT * FROM jobs WHERE token IN (
  SELECT j.token FROM runs AS r JOIN jobs AS j ON j.run_id = r.id WHERE r.finished_at IS NULL
  UNION
  SELECT token FROM jobs WHERE state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')
) ORDER BY rowid
"""
WORLD_VALID = """
SELECT x.token, x.valid FROM runs AS r
JOIN jobs AS j ON j.run_id = r.id JOIN results AS x ON x.token = j.token
WHERE r.finished_at IS NULL
"""

# Jobs and transitions are never deleted, so what is new has the largest numbers.
MOVED_JOBS = """
SELECT * FROM jobs WHERE token IN (SELECT token FROM transitions WHERE id > :move)
"""
NEW_JOBS = "SELECT * FROM jobs WHERE rowid > :job ORDER BY rowid"
NEW_VALID = "SELECT token, valid FROM results WHERE rowid > :result"
# The one thing that changes without a transition. The second condition is what lets SQLite use the
# index of jobs that are not over.
TALLIES = """
SELECT token, probe_streak, probe_failures, next_probe_at, looked_at FROM jobs
WHERE state = 'RUNNING' AND state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED') AND role = 'service'
"""

# json_each: one statement for any number of tokens.
KNOWN = "SELECT token, state FROM jobs WHERE token IN (SELECT value FROM json_each(:tokens))"

# A range instead of LIKE: uses the index, and no character of the prefix is special.
RUNS_BY_PREFIX = """
SELECT id FROM runs WHERE id >= :prefix AND id < :prefix || char(0x10FFFF) ORDER BY id LIMIT :limit
"""
JOBS_BY_PREFIX = """
SELECT token FROM jobs WHERE token >= :prefix AND token < :prefix || char(0x10FFFF)
ORDER BY token LIMIT :limit
"""
