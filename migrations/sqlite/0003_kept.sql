-- What is kept of a log, and what is kept beside it.

-- Deltas up to compacted_to are not read any more, and up to cleared_to they are gone; events up to trimmed_to are gone.
-- cleared_to and trimmed_to never pass compacted_to.
ALTER TABLE session ADD COLUMN compacted_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN cleared_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN trimmed_to INTEGER NOT NULL DEFAULT 0;

-- The part of a block's text that is not inline, in pieces without holes. byte_offset counts from the text's first byte.
-- It means nothing for a block whose truncated_bytes is 0.
CREATE TABLE block_text (
    tenant_id   TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    block_id    BLOB    NOT NULL,
    byte_offset INTEGER NOT NULL,
    data        BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, block_id, byte_offset),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT;

-- Bytes named by their hash, per tenant: whether another tenant has them cannot be told.
CREATE TABLE blob (
    tenant_id  TEXT    NOT NULL,
    sha256     TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, sha256)
) STRICT;

CREATE INDEX blob_touched ON blob (touched_at);

-- In pieces, so that a part is read without the rest.
CREATE TABLE blob_piece (
    tenant_id   TEXT    NOT NULL,
    sha256      TEXT    NOT NULL,
    byte_offset INTEGER NOT NULL,
    data        BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, sha256, byte_offset),
    FOREIGN KEY (tenant_id, sha256) REFERENCES blob ON DELETE CASCADE
) STRICT;

-- Sessions that name the bytes; as long as there is one they stay.
CREATE TABLE blob_ref (
    tenant_id  TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    session_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sha256, session_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session,
    FOREIGN KEY (tenant_id, sha256) REFERENCES blob
) STRICT, WITHOUT ROWID;

CREATE INDEX blob_ref_session ON blob_ref (tenant_id, session_id);
