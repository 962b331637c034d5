#!lua flags=allow-oom
-- Store a model's card, on a full memory too; heartbeats keep it.
-- KEYS prefix
-- ARGV id of the card, the card, milliseconds
redis.call('SET', KEYS[1] .. 'card:' .. ARGV[1], ARGV[2], 'PX', ARGV[3])
