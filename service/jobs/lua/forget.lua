-- KEYS prefix
-- ARGV job
-- Returns 1 if the job was kept.
-- include _forget
return forget(KEYS[1], ARGV[1])
