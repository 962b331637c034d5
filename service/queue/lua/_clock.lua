-- Milliseconds since 1970 by Redis' clock, and the time at which a stream's entry arrived.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function arrived(entry_id) return tonumber(string.match(entry_id, '^%d+')) end
