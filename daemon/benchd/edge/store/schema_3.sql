-- Version 3: jobs that make container images. A CHECK can only be changed in the text of its table,
-- which leaves every row as it is; SQLite describes this in "Making Other Kinds Of Table Schema
-- Changes". A table that comes and goes changes the schema in the ordinary way too, so that every
-- other connection notices.

PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, 'role IN (''service'', ''client'')', 'role IN (''service'', ''client'', ''image'')')
WHERE type = 'table' AND name = 'jobs';
PRAGMA writable_schema = RESET;

CREATE TABLE noticed (it);
DROP TABLE noticed;
