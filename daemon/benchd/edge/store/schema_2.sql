-- Version 2: scripts out of the rows that every move writes and every look reads, an index from
-- which jobs are counted, and no rule that two live jobs have two Slurm ids.

CREATE TABLE scripts (
  token  TEXT PRIMARY KEY REFERENCES jobs (token),
  script TEXT NOT NULL CHECK (script <> '')     -- rendered once: what is sent again is the same bytes
) STRICT;

INSERT INTO scripts (token, script) SELECT token, script FROM jobs ORDER BY rowid;

CREATE TRIGGER scripts_fixed BEFORE UPDATE ON scripts
BEGIN SELECT RAISE (ABORT, 'what a job is never changes'); END;
CREATE TRIGGER scripts_kept BEFORE DELETE ON scripts
BEGIN SELECT RAISE (ABORT, 'jobs are never deleted'); END;

DROP TRIGGER jobs_fixed;
ALTER TABLE jobs DROP COLUMN script;
CREATE TRIGGER jobs_fixed BEFORE UPDATE OF
  token, run_id, cluster, role, name, kind, point, repeat, replica, attempt, spec,
  created_at, born ON jobs
BEGIN SELECT RAISE (ABORT, 'what a job is never changes'); END;

CREATE INDEX jobs_counted ON jobs (cluster, role, state);

-- A controller that lost its state gives ids again, also those of jobs that we still look for.
DROP INDEX jobs_live_slurm_id;

-- Since when Slurm has given the reason for which a job waits.
ALTER TABLE jobs ADD COLUMN reason_since REAL;
