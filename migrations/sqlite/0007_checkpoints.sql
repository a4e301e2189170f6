-- Bytes that come ahead of the batch that names them, checkpoints of workspaces, and what these keep.

-- Bytes have a number now, so that several can be on their way under one hash, each from its own hand: put_by says whose,
-- and is NULL once they are whole. Only what is whole is read, named or counted on.
ALTER TABLE blob RENAME TO old_blob;
ALTER TABLE blob_piece RENAME TO old_blob_piece;
ALTER TABLE blob_ref RENAME TO old_blob_ref;
DROP INDEX blob_touched;
DROP INDEX blob_ref_session;

CREATE TABLE blob (
    blob_id    INTEGER PRIMARY KEY,
    tenant_id  TEXT    NOT NULL,
    sha256     TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    put_by     TEXT,
    touched_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX blob_whole ON blob (tenant_id, sha256) WHERE put_by IS NULL;
CREATE UNIQUE INDEX blob_ahead ON blob (tenant_id, sha256, put_by) WHERE put_by IS NOT NULL;
CREATE INDEX blob_touched ON blob (touched_at);

-- In pieces, so that a part is read without the rest.
CREATE TABLE blob_piece (
    blob_id     INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    data        BLOB    NOT NULL,
    PRIMARY KEY (blob_id, byte_offset),
    FOREIGN KEY (blob_id) REFERENCES blob ON DELETE CASCADE
) STRICT;

-- Sessions that need the bytes; as long as there is one they stay. What an event named (by_event) stays as long as its
-- session; what only the newest checkpoint has goes with the next one that has it no more.
CREATE TABLE blob_ref (
    tenant_id  TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    blob_id    INTEGER NOT NULL,
    by_event   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, session_id, blob_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session,
    FOREIGN KEY (blob_id) REFERENCES blob
) STRICT, WITHOUT ROWID;

CREATE INDEX blob_ref_blob ON blob_ref (blob_id);

INSERT INTO blob (tenant_id, sha256, size, put_by, touched_at)
    SELECT tenant_id, sha256, size, NULL, touched_at FROM old_blob;
INSERT INTO blob_piece (blob_id, byte_offset, data)
    SELECT b.blob_id, p.byte_offset, p.data FROM old_blob_piece p JOIN blob b USING (tenant_id, sha256);
INSERT INTO blob_ref (tenant_id, session_id, blob_id, by_event)
    SELECT r.tenant_id, r.session_id, b.blob_id, 1 FROM old_blob_ref r JOIN blob b USING (tenant_id, sha256);
DROP TABLE old_blob_ref;
DROP TABLE old_blob_piece;
DROP TABLE old_blob;

-- The newest checkpoint of a session. Its manifest stays as long as it does.
CREATE TABLE checkpoint (
    tenant_id   TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    manifest_id INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session,
    FOREIGN KEY (manifest_id) REFERENCES blob
) STRICT, WITHOUT ROWID;

CREATE INDEX checkpoint_manifest ON checkpoint (manifest_id);
