-- Keep an item's result and delete its photo.
-- KEYS prefix
-- ARGV job, item, result, 1 if it is a problem, most bytes of a job, the problem to keep instead when it is larger
-- Returns 0 when the job is not kept any more.
local key, index, result, failed = KEYS[1] .. ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', key) == 0 then return 0 end
local photo = redis.call('HSTRLEN', key .. ':items', index)
if redis.call('HDEL', key .. ':items', index) == 1 then
  local size = tonumber(redis.call('HGET', key, 'size') or '0') - photo
  if size + #result > tonumber(ARGV[5]) then
    result = ARGV[6]
    failed = 1
  end
  redis.call('HSET', key .. ':results', index, result)
  redis.call('PEXPIRE', key .. ':results', math.max(1, redis.call('PTTL', key)))
  redis.call('HSET', key, 'size', size + #result)
  redis.call('HINCRBY', key, 'done', 1)
  redis.call('HINCRBY', key, 'failed', failed)
end
return 1
