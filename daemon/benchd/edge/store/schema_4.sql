-- Version 4: what Slurm gave a job and what it used of it, and when services were looked at: the
-- last time, which is part of the tally of looks, and the spans in which nobody did (both JSON).

ALTER TABLE jobs ADD COLUMN used TEXT;
ALTER TABLE jobs ADD COLUMN looked_at REAL;
ALTER TABLE jobs ADD COLUMN unseen TEXT NOT NULL DEFAULT '[]';
