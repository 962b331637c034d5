-- KEYS prefix
-- ARGV job
-- Returns 1 if the job was kept.
-- include _delete
return delete(KEYS[1], ARGV[1])
