-- KEYS prefix
-- ARGV for each request: id, reply stream
-- Returns for each: 1 when its caller cancelled it, 2 when its reply stream is missing, else 0.
local flags = {}
for i = 1, #ARGV, 2 do
  local cancelled = redis.call('EXISTS', KEYS[1] .. 'cancelled:' .. ARGV[i]) == 1
  table.insert(flags, cancelled and 1 or redis.call('EXISTS', ARGV[i + 1]) == 0 and 2 or 0)
end
return flags
