-- Sandboxes that a provider elsewhere makes: each row comes before its sandbox, and stays until that is proven to be over.
-- It does not go with the session.
CREATE TABLE ledger (
    sandbox_id TEXT    NOT NULL PRIMARY KEY,
    tenant_id  TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    provider   TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    body       BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_provider ON ledger (provider);

-- Who sandboxes elsewhere belong to: this database, for as long as there is a copy of it.
CREATE TABLE owner (
    owner_id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

INSERT INTO owner (owner_id) VALUES ('own_' || lower(hex(randomblob(16))));
