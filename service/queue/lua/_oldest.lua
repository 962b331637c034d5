-- include _clock
-- include _group
-- Milliseconds for which the oldest request that no worker holds has been waiting.
local function oldest_age(stream)
  local last = group(stream)['last-delivered-id'] or '0-0'
  local first = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
  return first and math.max(0, now() - arrived(first[1])) or 0
end
