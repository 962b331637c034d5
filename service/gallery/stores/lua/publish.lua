-- include _delete_collection
-- include _catalog
-- Give a staged collection its tag. KEYS: the prefix. ARGV: id, tag, and of the collection that it replaces ('' for
-- none): id, version, key; of the catalog: name, old value, new value. Returns 0 when the tag is another's or the
-- replaced collection or the catalog changed.
local prefix, id, tag, old = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', prefix .. id) == 0 or not is_catalog(prefix, ARGV[6], ARGV[7]) then return 0 end
local owner = redis.call('HGET', prefix .. 'names', tag)
if old ~= '' then
  local state = redis.call('HMGET', prefix .. old, 'version', 'key')
  if state[1] ~= ARGV[4] or state[2] ~= ARGV[5] then return 0 end
end
if owner and owner ~= old and owner ~= id then return 0 end
redis.call('HSET', prefix .. 'names', tag, id)
redis.call('ZADD', prefix .. 'tags', 0, tag)
redis.call('HSET', prefix .. id, 'tag', tag)
if old ~= '' then delete_collection(prefix, old) end
set_catalog(prefix, ARGV[6], ARGV[8])
return 1
