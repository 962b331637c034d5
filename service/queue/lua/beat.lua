#!lua flags=allow-oom
-- A worker's heartbeat: keeps its announcement, its model's card and its claim to what it holds.
-- KEYS prefix
-- ARGV model, worker, its announcement or nothing, milliseconds for which that holds, id of the card, entries it holds
-- Returns the number of live workers of its model, and whether the card is there.
-- include _workers
local prefix, model, id = KEYS[1], ARGV[1], ARGV[2]
if ARGV[3] ~= '' then
  redis.call('SET', prefix .. 'worker:' .. id, ARGV[3], 'PX', ARGV[4])
  if not redis.call('ZSCORE', prefix .. 'workers', id) then
    redis.call('ZADD', prefix .. 'workers', redis.call('INCR', prefix .. 'order'), id)
  end
end
for i = 6, #ARGV do
  redis.call('XCLAIM', prefix .. 'requests:' .. model, 'workers', id, 0, ARGV[i], 'JUSTID')
end
return {count_workers(prefix, model), redis.call('PEXPIRE', prefix .. 'card:' .. ARGV[5], ARGV[4])}
