-- The store, version 1. Invariants stand here, so that no code path can forget them. What SQLite
-- has no type for is JSON; json_valid() cannot guard it, trusted_schema = OFF calls it unsafe.

CREATE TABLE meta (                             -- instance, epochs, paused clusters
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  id                  TEXT PRIMARY KEY CHECK (id <> ''),       -- part of every token of the run
  name                TEXT NOT NULL,
  cluster             TEXT NOT NULL,
  recipe              TEXT NOT NULL,            -- the exact text: a report never needs the file
  recipe_path         TEXT NOT NULL,
  recipe_sha256       TEXT NOT NULL,
  recipe_mtime_ns     INTEGER NOT NULL,
  created_at          REAL NOT NULL,
  owner_uid           INTEGER NOT NULL,
  limits              TEXT NOT NULL,
  dir_made_at         REAL,                     -- set once: a directory that is gone later is a fault
  cancel_requested_at REAL,
  reopened_at         REAL,                     -- a user's retry after the end
  finished_at         REAL,
  outcome             TEXT CHECK (outcome IN ('PASSED', 'FAILED', 'CANCELLED', 'INVALID')),
  why                 TEXT,
  -- one drop makes one run per cluster, however often we look
  UNIQUE (recipe_path, recipe_sha256, recipe_mtime_ns, cluster),
  CHECK ((outcome IS NULL) = (finished_at IS NULL))
) STRICT;

CREATE INDEX runs_unfinished ON runs (id) WHERE finished_at IS NULL;

CREATE TABLE jobs (
  -- fixed at birth (see the trigger jobs_fixed)
  token               TEXT PRIMARY KEY CHECK (token <> ''),    -- also the Slurm job name
  run_id              TEXT NOT NULL REFERENCES runs (id),
  cluster             TEXT NOT NULL,
  role                TEXT NOT NULL CHECK (role IN ('service', 'client')),
  name                TEXT NOT NULL,
  kind                TEXT NOT NULL,
  point               INTEGER NOT NULL CHECK (point >= 0),
  repeat              INTEGER NOT NULL CHECK (repeat >= 0),
  replica             INTEGER NOT NULL CHECK (replica >= 0),
  attempt             INTEGER NOT NULL CHECK (attempt >= 1),
  spec                TEXT NOT NULL,
  script              TEXT NOT NULL,            -- rendered once: what is sent again is the same bytes
  created_at          REAL NOT NULL,
  born                TEXT NOT NULL,            -- what was not default at birth
  -- the lifecycle
  state               TEXT NOT NULL CHECK (state IN ('CREATED', 'SUBMITTED', 'PENDING', 'RUNNING',
                                                     'COMPLETED', 'FAILED', 'CANCELLED')),
  rev                 INTEGER NOT NULL CHECK (rev >= 0),       -- how many transitions it made
  slurm_id            TEXT,
  slurm_state         TEXT,
  substate            TEXT NOT NULL CHECK (substate IN ('', 'configuring', 'held', 'completing',
                                                        'suspended')),
  reason              TEXT,
  exit_code           INTEGER,
  signal              INTEGER,
  nodes               TEXT,
  generation          INTEGER NOT NULL CHECK (generation >= 0),
  why                 TEXT,
  detail              TEXT,
  -- submission
  tries               INTEGER NOT NULL CHECK (tries >= 0),
  attempted_at        REAL,                     -- write-ahead mark: try number `tries` may be sent
  submit_failures     INTEGER NOT NULL CHECK (submit_failures >= 0),
  not_before          REAL NOT NULL,
  bindings            TEXT NOT NULL,
  -- what we want
  cancel_requested_at REAL,
  cancel_why          TEXT CHECK (cancel_why IN ('ASKED', 'DONE', 'SIBLING', 'NOT_READY',
                                                 'UNHEALTHY', 'HOPELESS', 'LIMIT')),
  missing_since       REAL,
  submitted_at        REAL,
  started_at          REAL,
  ended_at            REAL,
  -- health
  readiness           TEXT NOT NULL CHECK (readiness IN ('UNKNOWN', 'STARTING', 'READY', 'UNREADY')),
  readiness_since     REAL,
  ready_at            REAL,
  probe_streak        INTEGER NOT NULL,
  probe_failures      INTEGER NOT NULL CHECK (probe_failures >= 0),
  next_probe_at       REAL,
  endpoint            TEXT,                     -- JSON, as are spec, bindings and limits
  -- results
  collected_at        REAL,
  UNIQUE (run_id, role, name, point, repeat, replica, attempt),
  CHECK (slurm_id IS NOT NULL OR state IN ('CREATED', 'FAILED', 'CANCELLED')),
  CHECK (slurm_id IS NULL OR tries > 0),        -- nothing is in Slurm that was not announced here
  CHECK (attempted_at IS NULL OR tries > 0),
  CHECK ((cancel_requested_at IS NULL) = (cancel_why IS NULL)),
  CHECK (readiness = 'UNKNOWN' OR (role = 'service' AND state = 'RUNNING')),
  CHECK (collected_at IS NULL OR state IN ('COMPLETED', 'FAILED', 'CANCELLED'))
) STRICT;

-- Slurm uses ids again, so only a live id is unique.
CREATE UNIQUE INDEX jobs_live_slurm_id ON jobs (cluster, slurm_id)
  WHERE state IN ('SUBMITTED', 'PENDING', 'RUNNING');
CREATE INDEX jobs_unfinished ON jobs (state)
  WHERE state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED');

CREATE TRIGGER jobs_fixed BEFORE UPDATE OF
  token, run_id, cluster, role, name, kind, point, repeat, replica, attempt, spec, script,
  created_at, born ON jobs
BEGIN SELECT RAISE (ABORT, 'what a job is never changes'); END;

CREATE TRIGGER jobs_terminal BEFORE UPDATE OF state ON jobs
  WHEN OLD.state IN ('COMPLETED', 'FAILED', 'CANCELLED') AND NEW.state <> OLD.state
BEGIN SELECT RAISE (ABORT, 'a terminal state is never left'); END;

CREATE TRIGGER jobs_rev BEFORE UPDATE OF rev ON jobs WHEN NEW.rev <> OLD.rev + 1
BEGIN SELECT RAISE (ABORT, 'revisions go up by one'); END;

CREATE TRIGGER jobs_kept BEFORE DELETE ON jobs
BEGIN SELECT RAISE (ABORT, 'jobs are never deleted'); END;

CREATE TABLE transitions (                      -- append-only: the answer to "why?"
  id       INTEGER PRIMARY KEY,
  token    TEXT NOT NULL REFERENCES jobs (token),
  rev      INTEGER NOT NULL CHECK (rev >= 1),
  at       REAL NOT NULL,
  trigger  TEXT NOT NULL,
  old      TEXT NOT NULL,
  new      TEXT NOT NULL,
  evidence TEXT NOT NULL,                       -- command, exit status, raw text
  changes  TEXT NOT NULL,                       -- column -> new value, for fold()
  UNIQUE (token, rev)
) STRICT;

CREATE TRIGGER transitions_follow BEFORE INSERT ON transitions
  WHEN NEW.rev <> (SELECT rev FROM jobs WHERE token = NEW.token)
BEGIN SELECT RAISE (ABORT, 'a transition carries the revision of its job'); END;
CREATE TRIGGER transitions_fixed BEFORE UPDATE ON transitions
BEGIN SELECT RAISE (ABORT, 'transitions are append-only'); END;
CREATE TRIGGER transitions_kept BEFORE DELETE ON transitions
BEGIN SELECT RAISE (ABORT, 'transitions are append-only'); END;

CREATE TABLE results (                          -- immutable
  token        TEXT PRIMARY KEY REFERENCES jobs (token),
  collected_at REAL NOT NULL,
  valid        INTEGER NOT NULL CHECK (valid IN (0, 1)),
  sha256       TEXT NOT NULL,
  document     TEXT NOT NULL
) STRICT;

CREATE TRIGGER results_fixed BEFORE UPDATE ON results
BEGIN SELECT RAISE (ABORT, 'results are immutable'); END;
CREATE TRIGGER results_kept BEFORE DELETE ON results
BEGIN SELECT RAISE (ABORT, 'results are immutable'); END;

CREATE TABLE commands (                         -- what was asked over the socket, and by whom
  id     INTEGER PRIMARY KEY,
  at     REAL NOT NULL,
  uid    INTEGER NOT NULL,
  line   TEXT NOT NULL,
  ok     INTEGER NOT NULL CHECK (ok IN (0, 1)),
  answer TEXT NOT NULL
) STRICT;

CREATE TRIGGER commands_fixed BEFORE UPDATE ON commands
BEGIN SELECT RAISE (ABORT, 'the log of commands is append-only'); END;
CREATE TRIGGER commands_kept BEFORE DELETE ON commands
BEGIN SELECT RAISE (ABORT, 'the log of commands is append-only'); END;
