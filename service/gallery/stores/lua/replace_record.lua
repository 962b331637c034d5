-- Set a small value if it is still what the caller read. KEYS: the hash of small values. ARGV: name, '1' if there was a
-- value, the old value, the new value. Returns 0 when it changed.
local value = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] == '1' then
  if value ~= ARGV[3] then return 0 end
elseif value then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
return 1
