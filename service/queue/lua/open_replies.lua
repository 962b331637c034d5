#!lua flags=allow-oom
-- Make the stream of an API process's replies, empty, on a full memory too.
-- KEYS prefix
-- ARGV reply stream, milliseconds for which it lives without another sign of life
redis.call('XDEL', ARGV[1], redis.call('XADD', ARGV[1], '*', 'r', ''))
redis.call('PEXPIRE', ARGV[1], ARGV[2])
