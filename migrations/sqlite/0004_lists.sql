-- Lists that can be watched, and a row to try the database with.

-- Each change of a session that a list shows gets the next revision of its tenant, in the transaction of the change.
-- Of these the row of the session keeps the newest, the one it was created with, and the one with which it last changed
-- what filters look at. A session that is purged is not told of any more: forgotten is the newest revision of those.
ALTER TABLE session ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN added_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN filed_revision INTEGER NOT NULL DEFAULT 0;

CREATE TABLE tenant (
    tenant_id TEXT    NOT NULL PRIMARY KEY,
    revision  INTEGER NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was there before is as if it had been created in order just now.
UPDATE session SET revision = place.number, added_revision = place.number, filed_revision = place.number
    FROM (
        SELECT rowid AS row, row_number() OVER (PARTITION BY tenant_id ORDER BY create_time, session_id) AS number
        FROM session
    ) AS place
    WHERE session.rowid = place.row;
INSERT INTO tenant (tenant_id, revision, forgotten)
    SELECT tenant_id, MAX(revision), MAX(iif(purged = 1, revision, 0)) FROM session GROUP BY tenant_id;

CREATE INDEX session_revision ON session (tenant_id, revision) WHERE purged = 0;

CREATE TABLE probe (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    time INTEGER NOT NULL
) STRICT;
