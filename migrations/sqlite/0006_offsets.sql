-- How far the output of the newest program is read, where that is further than its own row says: text that streams moves
-- nothing but this, and the session's row is written anyway.
ALTER TABLE session ADD COLUMN stdout_offset INTEGER;
ALTER TABLE session ADD COLUMN stderr_offset INTEGER;
