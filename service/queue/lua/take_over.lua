#!lua flags=allow-oom
-- Take over one request of a lost worker. A request that was delivered too often becomes a dead letter instead.
-- An entry is taken only when it was abandoned at an earlier look too: Redis' clock may just have jumped ahead.
-- KEYS prefix
-- ARGV model, worker, milliseconds of silence, most deliveries, most dead letters, number of entries that were
--      abandoned for long enough by the worker's own clock, these entries, then the entries it holds itself
-- Returns the entry in a list and which delivery it is; or an empty list and all entries that look abandoned.
-- include _requests
local prefix, model, id = KEYS[1], ARGV[1], ARGV[2]
local stream, held, confirmed, abandoned = prefix .. 'requests:' .. model, {}, {}, {}
for i = 7, 6 + ARGV[6] do confirmed[ARGV[i]] = true end
for i = 7 + ARGV[6], #ARGV do held[ARGV[i]] = true end
for _, row in ipairs(redis.call('XPENDING', stream, 'workers', 'IDLE', ARGV[3], '-', '+', 64)) do
  local entry_id, deliveries = row[1], row[4]
  local entry = redis.call('XRANGE', stream, entry_id, entry_id)[1]
  if not entry then
    redis.call('XACK', stream, 'workers', entry_id)
  elseif not confirmed[entry_id] then
    table.insert(abandoned, entry_id)
  elseif deliveries >= tonumber(ARGV[4]) then
    local request = fields(entry)
    local image = redis.call('GET', prefix .. 'image:' .. request.id) or ''
    redis.call('XADD', prefix .. 'dead_letters', 'MAXLEN', ARGV[5], '*', 'id', request.id, 'h', request.h, 'i', image,
      't', request.t, 'to', request.to, 'model', model, 'deliveries', deliveries)
    answer(request.to, cmsgpack.pack({type = 'failure', id = request.id, model = model, code = 'worker_lost'}))
    remove(prefix, model, entry_id, request.id, request.n)
  elseif not held[entry_id] then
    redis.call('XCLAIM', stream, 'workers', id, 0, entry_id)
    return {{entry}, deliveries + 1}
  end
end
return {{}, abandoned}
