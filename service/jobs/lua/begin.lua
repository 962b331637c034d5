-- include _clock
-- include _delete
-- Begin a job that was stored in the same transaction; or delete it again when another came with its Idempotency-Key.
-- KEYS prefix
-- ARGV job, owner, milliseconds of the lease, Idempotency-Key or nothing, its digest, milliseconds for which it is kept
-- Returns 0 when another job has the key.
local prefix, id = KEYS[1], ARGV[1]
if ARGV[4] ~= '' then
  local name = prefix .. 'idempotency:' .. ARGV[4]
  local earlier = string.match(redis.call('GET', name) or '', ' (.+)$')
  if earlier and earlier ~= id and redis.call('HGET', prefix .. earlier, 'owner') == ARGV[2] then
    delete(prefix, id)
    return 0
  end
  redis.call('SET', name, ARGV[5] .. ' ' .. id, 'PX', ARGV[6])
end
redis.call('ZADD', prefix .. 'open', now() + ARGV[3], id)
return 1
