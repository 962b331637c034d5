#!lua flags=allow-oom
-- Make a model known, and its stream with the group of its workers, which begins at the stream's beginning.
-- Works on a full memory too: a worker that starts then is what frees it.
-- KEYS prefix
-- ARGV model
local prefix, model = KEYS[1], ARGV[1]
redis.call('ZADD', prefix .. 'models', 'NX', redis.call('INCR', prefix .. 'order'), model)
local made = redis.pcall('XGROUP', 'CREATE', prefix .. 'requests:' .. model, 'workers', '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
