"""The Redis store's changes, each a Lua script: KEYS the prefix, names of keys as redis.py has them."""

CREATE = """
local prefix, id, tag = KEYS[1], ARGV[1], ARGV[2]
if redis.call('EXISTS', prefix .. id) == 1 then return 0 end
if tag ~= '' then
  if redis.call('HSETNX', prefix .. 'names', tag, id) == 0 then return 0 end
  redis.call('ZADD', prefix .. 'tags', 0, tag)
end
redis.call('HSET', prefix .. id, 'tag', tag, 'key', ARGV[3], 'head', ARGV[4], 'version', ARGV[5], 'serial', 0)
redis.call('SADD', prefix .. 'ids', id)
return 1
"""
DROP = """
local function drop(prefix, id)
  local tag = redis.call('HGET', prefix .. id, 'tag')
  if not tag then return 0 end
  redis.call('DEL', prefix .. id)
  if redis.call('HGET', prefix .. 'names', tag) == id then
    redis.call('HDEL', prefix .. 'names', tag)
    redis.call('ZREM', prefix .. 'tags', tag)
  end
  redis.call('SREM', prefix .. 'ids', id)
  for _, serial in ipairs(redis.call('SMEMBERS', prefix .. id .. ':pictured')) do
    redis.call('UNLINK', prefix .. id .. ':photos:' .. serial)
  end
  for _, member in ipairs(redis.call('SMEMBERS', prefix .. id .. ':mortal')) do
    redis.call('ZREM', prefix .. 'expiry', id .. member)
  end
  for _, part in ipairs({'rows', 'tags', 'serials', 'changes', 'gone', 'pictured', 'mortal'}) do
    redis.call('UNLINK', prefix .. id .. ':' .. part)
  end
  return 1
end
"""
DELETE_COLLECTION = "#!lua flags=allow-oom\n" + DROP + "return drop(KEYS[1], ARGV[1])"
PUBLISH = (
    DROP
    + """
local prefix, id, tag, old = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', prefix .. id) == 0 then return 0 end
local owner = redis.call('HGET', prefix .. 'names', tag)
if old ~= '' then
  local state = redis.call('HMGET', prefix .. old, 'version', 'key')
  if state[1] ~= ARGV[4] or state[2] ~= ARGV[5] then return 0 end
end
if owner and owner ~= old and owner ~= id then return 0 end
redis.call('HSET', prefix .. 'names', tag, id)
redis.call('ZADD', prefix .. 'tags', 0, tag)
redis.call('HSET', prefix .. id, 'tag', tag)
if old ~= '' then drop(prefix, old) end
return 1
"""
)
SET_KEY = """
if redis.call('HGET', KEYS[1] .. ARGV[1], 'key') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1] .. ARGV[1], 'key', ARGV[3])
return 1
"""
PUT = """
local prefix, id, tag, seen = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local expires, lengths, payload, dropped = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local base = prefix .. id
if redis.call('EXISTS', base) == 0 then return 0 end
local row = redis.call('HGET', base .. ':rows', tag)
local serial, version = 0, 0
if row then serial, version = struct.unpack('>I8I8', row) end
if version ~= seen then return 0 end
version = redis.call('HINCRBY', base, 'version', 1)
if not row then serial = redis.call('HINCRBY', base, 'serial', 1) end
local head = struct.pack('>I8I8', serial, version)
redis.call('HSET', base .. ':rows', tag, head .. lengths .. payload)
redis.call('ZADD', base .. ':tags', 0, tag)
redis.call('HSET', base .. ':serials', serial, tag)
redis.call('ZADD', base .. ':changes', version, serial)
if expires ~= '' then
  redis.call('ZADD', prefix .. 'expiry', expires, id .. tag)
  redis.call('SADD', base .. ':mortal', tag)
else
  redis.call('ZREM', prefix .. 'expiry', id .. tag)
  redis.call('SREM', base .. ':mortal', tag)
end
local photos = base .. ':photos:' .. serial
for i = 8, 7 + dropped do redis.call('HDEL', photos, ARGV[i]) end
for i = 8 + dropped, #ARGV, 2 do
  redis.call('HSET', photos, ARGV[i], ARGV[i + 1])
  redis.call('SADD', base .. ':pictured', serial)
end
return version
"""
DELETE = """#!lua flags=allow-oom
local prefix, id, tag, seen, remembered = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local base = prefix .. id
local row = redis.call('HGET', base .. ':rows', tag)
if not row then return 0 end
local serial, version = struct.unpack('>I8I8', row)
if seen ~= '' and tonumber(seen) ~= version then return 0 end
local now = redis.call('HINCRBY', base, 'version', 1)
redis.call('HDEL', base .. ':rows', tag)
redis.call('ZREM', base .. ':tags', tag)
redis.call('HDEL', base .. ':serials', serial)
redis.call('ZREM', base .. ':changes', serial)
redis.call('ZADD', base .. ':gone', now, serial)
if redis.call('ZCARD', base .. ':gone') > remembered then
  redis.call('HSET', base, 'floor', redis.call('ZPOPMIN', base .. ':gone')[2])
end
redis.call('ZREM', prefix .. 'expiry', id .. tag)
redis.call('SREM', base .. ':mortal', tag)
redis.call('SREM', base .. ':pictured', serial)
redis.call('UNLINK', base .. ':photos:' .. serial)
return 1
"""
