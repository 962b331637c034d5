-- Take a fair share of what waits.
-- KEYS prefix
-- ARGV model, worker, most entries, number of workers that share
-- Returns the entries.
-- include _group
local stream = KEYS[1] .. 'requests:' .. ARGV[1]
local waiting = tonumber(group(stream)['lag']) or redis.call('XLEN', stream)
local share = math.max(1, math.min(tonumber(ARGV[3]), math.ceil(waiting / tonumber(ARGV[4]))))
local read = redis.call('XREADGROUP', 'GROUP', 'workers', ARGV[2], 'COUNT', share, 'STREAMS', stream, '>')
return read and read[1][2] or {}
