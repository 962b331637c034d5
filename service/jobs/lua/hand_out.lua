-- KEYS prefix
-- ARGV job, item
-- Returns the item and how often it was handed out by now; nothing when it has a result or the job is not kept.
local key = KEYS[1] .. ARGV[1]
local item = redis.call('HGET', key .. ':items', ARGV[2])
if not item then return {} end
local deliveries = redis.call('HINCRBY', key .. ':deliveries', ARGV[2], 1)
redis.call('PEXPIRE', key .. ':deliveries', math.max(1, redis.call('PTTL', key)))
return {item, deliveries}
