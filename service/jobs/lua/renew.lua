-- Stay a job's owner.
-- KEYS prefix
-- ARGV job, milliseconds of the lease
-- Returns 0 when the job is not kept any more.
-- include _clock
if redis.call('EXISTS', KEYS[1] .. ARGV[1]) == 0 then
  redis.call('ZREM', KEYS[1] .. 'open', ARGV[1])
  return 0
end
redis.call('ZADD', KEYS[1] .. 'open', now() + ARGV[2], ARGV[1])
return 1
