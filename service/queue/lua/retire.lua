-- Forget the consumer of one worker, or of all workers that have been silent for long; never one that holds anything.
-- KEYS prefix
-- ARGV model, worker or nothing for all, milliseconds of silence
local stream = KEYS[1] .. 'requests:' .. ARGV[1]
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'workers')
if consumers.err then return end
for _, row in ipairs(consumers) do
  local consumer = {}
  for i = 1, #row, 2 do consumer[row[i]] = row[i + 1] end
  local over = consumer.name == ARGV[2] or (ARGV[2] == '' and consumer.idle > tonumber(ARGV[3]))
  if over and consumer.pending == 0 and redis.call('EXISTS', KEYS[1] .. 'worker:' .. consumer.name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, 'workers', consumer.name)
  end
end
