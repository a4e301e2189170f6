-- What is kept of sessions. The key begins with the tenant everywhere, so that another tenant's id finds nothing.
-- Bodies are one byte of format version and JSON. Ids that come from agents, and paths, are BLOB: they may hold U+0000.

-- The row of a deleted session stays as a tombstone, so that its id is never used again.
-- head and last_activity move with every batch; the record is only rewritten when more of it changed.
CREATE TABLE session (
    tenant_id       TEXT    NOT NULL,
    session_id      TEXT    NOT NULL,
    uid             TEXT    NOT NULL,
    epoch           INTEGER NOT NULL,
    head            INTEGER NOT NULL,
    last_activity   INTEGER NOT NULL,
    status          TEXT    NOT NULL,
    profile_id      TEXT    NOT NULL,
    external_id     TEXT    NOT NULL,
    create_time     INTEGER NOT NULL,
    sandbox_id      TEXT,
    sandbox_running INTEGER NOT NULL,
    deleted_at      INTEGER,
    purged          INTEGER NOT NULL DEFAULT 0,
    record          BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id)
) STRICT;

CREATE UNIQUE INDEX session_external_id ON session (tenant_id, external_id)
    WHERE external_id <> '' AND deleted_at IS NULL;
CREATE INDEX session_newest ON session (tenant_id, create_time, session_id) WHERE deleted_at IS NULL;
CREATE INDEX session_status ON session (tenant_id, status, create_time, session_id) WHERE deleted_at IS NULL;
CREATE INDEX session_profile ON session (tenant_id, profile_id, create_time, session_id) WHERE deleted_at IS NULL;
CREATE INDEX session_running ON session (tenant_id) WHERE sandbox_running = 1 AND deleted_at IS NULL;
CREATE INDEX session_deleted ON session (deleted_at) WHERE deleted_at IS NOT NULL AND purged = 0;

-- In the order of the sessions list, so that a page of one label is one range.
CREATE TABLE label (
    tenant_id   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    create_time INTEGER NOT NULL,
    session_id  TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, key, value, create_time, session_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT, WITHOUT ROWID;

CREATE INDEX label_session ON label (tenant_id, session_id);

-- block_id is set for deltas only: they are what the text of open blocks is made of.
CREATE TABLE event (
    tenant_id       TEXT    NOT NULL,
    session_id      TEXT    NOT NULL,
    sequence        INTEGER NOT NULL,
    first_sequence  INTEGER NOT NULL,
    conversation_id BLOB    NOT NULL,
    time            INTEGER NOT NULL,
    actor           BLOB,
    kind            TEXT    NOT NULL,
    block_id        BLOB,
    payload         BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, sequence),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT, WITHOUT ROWID;

-- In all lists below, ordinal is the place: it is given when the row is first put, and kept.

CREATE TABLE turn (
    tenant_id  TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    turn_id    TEXT    NOT NULL,
    ordinal    INTEGER NOT NULL,
    open       INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, turn_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT;

CREATE INDEX turn_open ON turn (tenant_id, session_id, ordinal) WHERE open = 1;

-- The body of an open block holds its text as of the event written_at; the deltas after it have the rest.
CREATE TABLE block (
    tenant_id       TEXT    NOT NULL,
    session_id      TEXT    NOT NULL,
    block_id        BLOB    NOT NULL,
    conversation_id BLOB    NOT NULL,
    ordinal         INTEGER NOT NULL,
    open            INTEGER NOT NULL,
    written_at      INTEGER NOT NULL,
    body            BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, block_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT;

CREATE INDEX block_conversation ON block (tenant_id, session_id, conversation_id, ordinal);
CREATE INDEX block_open ON block (tenant_id, session_id, ordinal) WHERE open = 1;

CREATE TABLE conversation (
    tenant_id       TEXT    NOT NULL,
    session_id      TEXT    NOT NULL,
    conversation_id BLOB    NOT NULL,
    ordinal         INTEGER NOT NULL,
    body            BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, conversation_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT;

CREATE TABLE permission (
    tenant_id     TEXT    NOT NULL,
    session_id    TEXT    NOT NULL,
    permission_id TEXT    NOT NULL,
    ordinal       INTEGER NOT NULL,
    open          INTEGER NOT NULL,
    body          BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, permission_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT;

CREATE INDEX permission_open ON permission (tenant_id, session_id, ordinal) WHERE open = 1;

CREATE TABLE question (
    tenant_id   TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    question_id TEXT    NOT NULL,
    ordinal     INTEGER NOT NULL,
    open        INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, question_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT;

CREATE INDEX question_open ON question (tenant_id, session_id, ordinal) WHERE open = 1;

CREATE TABLE permission_rules (
    tenant_id  TEXT NOT NULL,
    session_id TEXT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT, WITHOUT ROWID;

CREATE TABLE file (
    tenant_id  TEXT NOT NULL,
    session_id TEXT NOT NULL,
    path       BLOB NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (tenant_id, session_id, path),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT, WITHOUT ROWID;

-- The newest program of a session is the one with the highest ordinal.
CREATE TABLE exec (
    ordinal        INTEGER PRIMARY KEY,
    tenant_id      TEXT    NOT NULL,
    session_id     TEXT    NOT NULL,
    exec_id        TEXT    NOT NULL,
    sandbox_id     TEXT    NOT NULL,
    generation     INTEGER NOT NULL,
    stdout_offset  INTEGER NOT NULL,
    stderr_offset  INTEGER NOT NULL,
    parser_version INTEGER NOT NULL,
    parser_state   BLOB,
    ended          INTEGER NOT NULL,
    UNIQUE (tenant_id, session_id, exec_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT;

CREATE TABLE exec_stdin (
    tenant_id   TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    exec_id     TEXT    NOT NULL,
    byte_offset INTEGER NOT NULL,
    data        BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, exec_id, byte_offset),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session
) STRICT;

-- Every revision of every profile. A revision never changes, but for the mark of the newest.
CREATE TABLE profile (
    tenant_id  TEXT    NOT NULL,
    profile_id TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    newest     INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, profile_id, revision)
) STRICT;

CREATE UNIQUE INDEX profile_newest ON profile (tenant_id, profile_id) WHERE newest = 1;
CREATE INDEX profile_name ON profile (tenant_id, name, profile_id) WHERE newest = 1;
