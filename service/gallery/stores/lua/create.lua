-- include _catalog
-- Add a collection. KEYS: the prefix. ARGV: id, tag ('' while it is staged), key, meta, version, ledger, and of the
-- catalog ('' for none): name, old value, new value. Returns 0 when the id or the tag is taken or the catalog changed.
local prefix, id, tag = KEYS[1], ARGV[1], ARGV[2]
if redis.call('EXISTS', prefix .. id) == 1 or not is_catalog(prefix, ARGV[7], ARGV[8]) then return 0 end
if tag ~= '' then
  if redis.call('HSETNX', prefix .. 'names', tag, id) == 0 then return 0 end
  redis.call('ZADD', prefix .. 'tags', 0, tag)
end
redis.call('HSET', prefix .. id,
  'tag', tag, 'key', ARGV[3], 'meta', ARGV[4], 'version', ARGV[5], 'ledger', ARGV[6], 'serial', 0)
redis.call('SADD', prefix .. 'ids', id)
set_catalog(prefix, ARGV[7], ARGV[9])
return 1
