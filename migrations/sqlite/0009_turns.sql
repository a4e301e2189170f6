-- So that a session's turns are listed in order, all of them or those of one status.
ALTER TABLE turn ADD COLUMN status TEXT NOT NULL DEFAULT '';
-- What is stored of a turn is JSON behind one byte.
UPDATE turn SET status = json_extract(CAST(substr(body, 2) AS TEXT), '$.status');
CREATE INDEX turn_order ON turn (tenant_id, session_id, ordinal);
CREATE INDEX turn_status ON turn (tenant_id, session_id, status, ordinal);
