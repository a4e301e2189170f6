-- What was read of a program's output and is held back, because it may be the beginning of a secret's value: names and
-- numbers, never text. It stands beside the offset it belongs to, so in the session's row where the offset does.
ALTER TABLE exec ADD COLUMN held BLOB;
ALTER TABLE session ADD COLUMN held BLOB;
