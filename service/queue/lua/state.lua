-- KEYS prefix
-- Returns how many requests are accepted and not finished, the milliseconds for which the oldest one that no worker
-- holds has been waiting, and how many dead letters there are.
-- include _oldest
local depth, age = 0, 0
for _, model in ipairs(redis.call('ZRANGE', KEYS[1] .. 'models', 0, -1)) do
  local stream = KEYS[1] .. 'requests:' .. model
  depth = depth + redis.call('XLEN', stream)
  age = math.max(age, oldest_age(stream))
end
return {depth, age, redis.call('XLEN', KEYS[1] .. 'dead_letters')}
