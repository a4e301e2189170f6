-- Calls that had their effect, and what they were answered: written in the transaction of the effect. No row hangs on a
-- session, because a call may be repeated after its session is gone.
CREATE TABLE request (
    tenant_id  TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    method     TEXT    NOT NULL,
    body_hash  BLOB    NOT NULL,
    answer     BLOB    NOT NULL,
    expires    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_expires ON request (expires);
