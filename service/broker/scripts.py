"""The queue's keys in Redis 7 or later, and its Lua scripts: each step is one script, run whole or not at all.

Under one prefix: `models` (sorted set: digest → order of arrival), for each model `jobs:<digest>` (stream, group
`workers`) and `bytes:<digest>` (compressed bytes in it); `workers` (sorted set: id → order of arrival) and
`worker:<id>` (expires); `replies:<api>` (stream, expires: an API process that is gone has none); `gone:<job>` (flag,
expires: nobody waits for this job); `dead` (stream: jobs that workers died on).

An entry of `jobs` has the fields id (the job's), h (header), n (bytes of its photo), t (milliseconds from its arrival
to its deadline) and to (name of the reply stream). Its photo is the string `image:<job>` (expires), set in the
transaction that admits it: what a script is handed costs Redis 2 µs a kB, in which it does nothing else. The entry's
own id is the time of arrival by Redis' clock, which is the only clock that counts between machines. When it jumps
ahead, whatever expires is over and whatever is held looks abandoned, until its owner shows the next sign of life: what
cannot be undone is therefore done only to what was seen so at two looks, by the looker's clock.
"""

from __future__ import annotations

GROUP = "workers"

_NOW = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function arrived(id) return tonumber(string.match(id, '^%d+')) end
"""
_GROUP = """
local function group(stream)
  local found = redis.pcall('XINFO', 'GROUPS', stream)
  local read = {}
  if not found.err and found[1] then
    for i = 1, #found[1], 2 do read[found[1][i]] = found[1][i + 1] end
  end
  return read
end
"""
_OLDEST = (
    _NOW
    + _GROUP
    + """
local function oldest_age(stream)
  local last = group(stream)['last-delivered-id'] or '0-0'
  local first = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
  return first and math.max(0, now() - arrived(first[1])) or 0
end
"""
)
_WORKERS = """
local function workers(prefix)
  local alive = {}
  for _, id in ipairs(redis.call('ZRANGE', prefix .. 'workers', 0, -1)) do
    local who = redis.call('GET', prefix .. 'worker:' .. id)
    if who then table.insert(alive, who) else redis.call('ZREM', prefix .. 'workers', id) end
  end
  return alive
end
local function count(prefix, model)
  local found = 0
  for _, who in ipairs(workers(prefix)) do
    if cmsgpack.unpack(who).digest == model then found = found + 1 end
  end
  return found
end
"""
_REMOVE = """
local function remove(prefix, model, entry, job, size)
  local stream, image = prefix .. 'jobs:' .. model, prefix .. 'image:' .. job
  redis.call('XACK', stream, 'workers', entry)
  if redis.call('XDEL', stream, entry) == 0 then return false end
  redis.call('DECRBY', prefix .. 'bytes:' .. model, tonumber(size) or 0)
  redis.call('DEL', image)
  return true
end
local function answer(to, result)
  if to == '' then return end
  local missing = redis.call('EXISTS', to) == 0
  redis.call('XADD', to, '*', 'r', result)
  if missing then redis.call('PEXPIRE', to, 5000) end
end
local function fields(entry)
  local read = {id = '', h = '', n = '0', t = '0', to = ''}
  for i = 1, #entry[2], 2 do read[entry[2][i]] = entry[2][i + 1] end
  return read
end
"""

ADMIT = (
    _OLDEST
    + """
local stream, held, image = KEYS[1] .. 'jobs:' .. ARGV[1], KEYS[1] .. 'bytes:' .. ARGV[1], KEYS[1] .. 'image:'
local size, size_bytes, bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local sizes = {}
for i = 4, #ARGV, 4 do
  sizes[i] = redis.call('STRLEN', image .. ARGV[i])
  bytes = bytes + sizes[i]
end
local depth, waiting = redis.call('XLEN', stream), tonumber(redis.call('GET', held) or '0')
if depth == 0 then waiting = 0 end
if depth + (#ARGV - 3) / 4 > size or (depth > 0 and waiting + bytes > size_bytes) then
  for i = 4, #ARGV, 4 do redis.call('DEL', image .. ARGV[i]) end
  return oldest_age(stream)
end
for i = 4, #ARGV, 4 do
  redis.call('XADD', stream, '*', 'id', ARGV[i], 'h', ARGV[i + 1], 'n', sizes[i], 't', ARGV[i + 2], 'to', ARGV[i + 3])
end
redis.call('SET', held, waiting + bytes)
return -1
"""
)
"""KEYS prefix; ARGV model, size, size_bytes, then id, h, t, to of each job. -1, or milliseconds if full.

In one transaction after the jobs' photos, which are not kept if it is full.
"""

STATE = (
    _OLDEST
    + """
local depth, age = 0, 0
for _, model in ipairs(redis.call('ZRANGE', KEYS[1] .. 'models', 0, -1)) do
  local stream = KEYS[1] .. 'jobs:' .. model
  depth = depth + redis.call('XLEN', stream)
  age = math.max(age, oldest_age(stream))
end
return {depth, age, redis.call('XLEN', KEYS[1] .. 'dead')}
"""
)
"""KEYS prefix. Depth, milliseconds of the oldest job that no worker holds, dead letters."""

WORKERS = _WORKERS + "return workers(KEYS[1])"
"""KEYS prefix. What the live workers announced, in the order in which they came."""

BEAT = (
    "#!lua flags=allow-oom\n"
    + _WORKERS
    + """
local prefix, model, id = KEYS[1], ARGV[1], ARGV[2]
if ARGV[3] ~= '' then
  redis.call('SET', prefix .. 'worker:' .. id, ARGV[3], 'PX', ARGV[4])
  if not redis.call('ZSCORE', prefix .. 'workers', id) then
    redis.call('ZADD', prefix .. 'workers', redis.call('INCR', prefix .. 'order'), id)
  end
end
for i = 5, #ARGV do
  redis.call('XCLAIM', prefix .. 'jobs:' .. model, 'workers', id, 0, ARGV[i], 'JUSTID')
end
return count(prefix, model)
"""
)
"""KEYS prefix; ARGV model, worker, what it announces or nothing, its milliseconds, ids it holds. Its workers."""

TAKE = (
    _GROUP
    + """
local stream = KEYS[1] .. 'jobs:' .. ARGV[1]
local waiting = tonumber(group(stream)['lag']) or redis.call('XLEN', stream)
local share = math.max(1, math.min(tonumber(ARGV[3]), math.ceil(waiting / tonumber(ARGV[4]))))
local read = redis.call('XREADGROUP', 'GROUP', 'workers', ARGV[2], 'COUNT', share, 'STREAMS', stream, '>')
return read and read[1][2] or {}
"""
)
"""KEYS prefix; ARGV model, worker, most, workers that share. A fair share of the waiting entries."""

TAKE_OVER = (
    "#!lua flags=allow-oom\n"
    + _REMOVE
    + """
local prefix, model, id = KEYS[1], ARGV[1], ARGV[2]
local stream, held, sure, stale = prefix .. 'jobs:' .. model, {}, {}, {}
for i = 7, 6 + ARGV[6] do sure[ARGV[i]] = true end
for i = 7 + ARGV[6], #ARGV do held[ARGV[i]] = true end
for _, row in ipairs(redis.call('XPENDING', stream, 'workers', 'IDLE', ARGV[3], '-', '+', 64)) do
  local entry = redis.call('XRANGE', stream, row[1], row[1])[1]
  if not entry then
    redis.call('XACK', stream, 'workers', row[1])
  elseif not sure[row[1]] then
    table.insert(stale, row[1])
  elseif row[4] >= tonumber(ARGV[4]) then
    local job = fields(entry)
    local image = redis.call('GET', prefix .. 'image:' .. job.id) or ''
    redis.call('XADD', prefix .. 'dead', 'MAXLEN', ARGV[5], '*', 'id', job.id, 'h', job.h, 'i', image, 't', job.t,
      'to', job.to, 'model', model, 'deliveries', row[4])
    answer(job.to, cmsgpack.pack({job_id = job.id, model = model, code = 'worker_lost'}))
    remove(prefix, model, row[1], job.id, job.n)
  elseif not held[row[1]] then
    redis.call('XCLAIM', stream, 'workers', id, 0, row[1])
    return {{entry}, row[4] + 1}
  end
end
return {{}, stale}
"""
)
"""KEYS prefix; ARGV model, worker, milliseconds, deliveries, dead letters kept, number of ids that were seen to be
stale for long enough, these ids, ids it holds.

One of these entries if its worker still shows no sign of life, and which delivery it is; or nothing, and
the ids of entries whose workers have been silent for so many milliseconds.
"""

FINISH = (
    "#!lua flags=allow-oom\n"
    + _REMOVE
    + """
for i = 2, #ARGV, 5 do
  if remove(KEYS[1], ARGV[1], ARGV[i], ARGV[i + 1], ARGV[i + 2]) then answer(ARGV[i + 3], ARGV[i + 4]) end
end
"""
)
"""KEYS prefix; ARGV model, then entry, job, bytes, reply stream, result of each. Only the first answer to a job is
sent."""

GONE = """
local found = {}
for i = 1, #ARGV, 2 do
  local flag = redis.call('EXISTS', KEYS[1] .. 'gone:' .. ARGV[i]) == 1
  table.insert(found, flag and 1 or redis.call('EXISTS', ARGV[i + 1]) == 0 and 2 or 0)
end
return found
"""
"""KEYS prefix; ARGV job, reply stream of each. 1 for each that nobody waits for, 2 where there is no reply stream."""

WAITING = (
    _REMOVE
    + """
local found = {}
for _, model in ipairs(redis.call('ZRANGE', KEYS[1] .. 'models', 0, -1)) do
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1] .. 'jobs:' .. model, '-', '+')) do
    local job = fields(entry)
    if job.to == ARGV[1] then table.insert(found, job.id) end
  end
end
return found
"""
)
"""KEYS prefix; ARGV reply stream. The jobs that are there and answered into it."""

SWEEP = (
    "#!lua flags=allow-oom\n"
    + _NOW
    + _GROUP
    + _WORKERS
    + _REMOVE
    + """
local prefix, grace, deserted, sure = KEYS[1], tonumber(ARGV[1]), {}, {}
for i = 3, #ARGV do sure[ARGV[i]] = true end
redis.call('XTRIM', prefix .. 'dead', 'MINID', math.max(0, now() - ARGV[2]))
local models = redis.call('ZRANGE', prefix .. 'models', 0, -1)
for place, model in ipairs(models) do
  local stream = prefix .. 'jobs:' .. model
  if count(prefix, model) == 0 then table.insert(deserted, model) end
  if count(prefix, model) == 0 and sure[model] then
    for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 16)) do
      local job = fields(entry)
      if now() - arrived(entry[1]) > tonumber(job.t) + grace then remove(prefix, model, entry[1], job.id, job.n) end
    end
    if redis.call('XLEN', stream) == 0 and place < #models then
      redis.call('DEL', stream, prefix .. 'bytes:' .. model)
      redis.call('ZREM', prefix .. 'models', model)
    end
  end
end
return deserted
"""
)
"""KEYS prefix; ARGV grace, age of dead letters in milliseconds, models that had no worker at the last look.

Forgets old dead letters, late jobs of these models if they still have none, and such models but the last. The models
without a worker.
"""

RETIRE = """
local stream = KEYS[1] .. 'jobs:' .. ARGV[1]
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'workers')
if consumers.err then return end
for _, row in ipairs(consumers) do
  local read = {}
  for i = 1, #row, 2 do read[row[i]] = row[i + 1] end
  local over = read.name == ARGV[2] or (ARGV[2] == '' and read.idle > tonumber(ARGV[3]))
  if over and read.pending == 0 and redis.call('EXISTS', KEYS[1] .. 'worker:' .. read.name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, 'workers', read.name)
  end
end
"""
"""KEYS prefix; ARGV model, worker or nothing, milliseconds. Forgets this consumer, or all that are dead, if they hold
nothing."""
