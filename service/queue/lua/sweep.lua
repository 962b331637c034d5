#!lua flags=allow-oom
-- Forget old dead letters; of models that had no worker at the last look and have none now, forget late requests and,
-- when nothing is left, the model itself, but never the newest model.
-- KEYS prefix
-- ARGV milliseconds beyond the deadline, milliseconds for which dead letters are kept, models that had no worker
-- Returns the models without a worker.
-- include _clock
-- include _workers
-- include _requests
local prefix, grace, without_workers, confirmed = KEYS[1], tonumber(ARGV[1]), {}, {}
for i = 3, #ARGV do confirmed[ARGV[i]] = true end
redis.call('XTRIM', prefix .. 'dead_letters', 'MINID', math.max(0, now() - ARGV[2]))
local models = redis.call('ZRANGE', prefix .. 'models', 0, -1)
for place, model in ipairs(models) do
  local stream = prefix .. 'requests:' .. model
  local without_worker = count_workers(prefix, model) == 0
  if without_worker then table.insert(without_workers, model) end
  if without_worker and confirmed[model] then
    for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 16)) do
      local request = fields(entry)
      if now() - arrived(entry[1]) > tonumber(request.t) + grace then
        remove(prefix, model, entry[1], request.id, request.n)
      end
    end
    if redis.call('XLEN', stream) == 0 and place < #models then
      redis.call('DEL', stream, prefix .. 'bytes:' .. model)
      redis.call('ZREM', prefix .. 'models', model)
    end
  end
end
return without_workers
