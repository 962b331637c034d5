-- Accept all requests of a submit(), or none when the queue is full.
-- Runs in one transaction after the commands that store their photos, which are deleted again when it is full.
-- KEYS prefix
-- ARGV model, most requests, most bytes, then for each request: id, header, milliseconds left, reply stream
-- Returns -1, or when full the milliseconds for which the oldest request has been waiting.
-- include _oldest
local stream, held, image = KEYS[1] .. 'requests:' .. ARGV[1], KEYS[1] .. 'bytes:' .. ARGV[1], KEYS[1] .. 'image:'
local max_requests, max_bytes, bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local sizes = {}
for i = 4, #ARGV, 4 do
  sizes[i] = redis.call('STRLEN', image .. ARGV[i])
  bytes = bytes + sizes[i]
end
local depth, waiting = redis.call('XLEN', stream), tonumber(redis.call('GET', held) or '0')
if depth == 0 then waiting = 0 end
if depth + (#ARGV - 3) / 4 > max_requests or (depth > 0 and waiting + bytes > max_bytes) then
  for i = 4, #ARGV, 4 do redis.call('DEL', image .. ARGV[i]) end
  return oldest_age(stream)
end
for i = 4, #ARGV, 4 do
  redis.call('XADD', stream, '*', 'id', ARGV[i], 'h', ARGV[i + 1], 'n', sizes[i], 't', ARGV[i + 2], 'to', ARGV[i + 3])
end
redis.call('SET', held, waiting + bytes)
return -1
