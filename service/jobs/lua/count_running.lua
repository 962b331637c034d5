-- KEYS prefix
-- Returns how many jobs are accepted and not done; those whose webhook is still to be told are done.
local count = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1] .. 'open', 0, -1)) do
  local row = redis.call('HMGET', KEYS[1] .. id, 'owner', 'ended')
  if row[1] and not row[2] then count = count + 1 end
end
return count
