-- So that a snapshot reads a session's blocks in order, a page at a time.
CREATE INDEX block_order ON block (tenant_id, session_id, ordinal);
