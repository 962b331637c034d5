#!lua flags=allow-oom
-- include _advance
-- Delete a subject if there is one. KEYS: the prefix. ARGV: id, version that was read, ledger index, number of the
-- ledger page, the page, tag, how many deletions are remembered. Returns 0 when the collection has another version.
local base, tag, remembered = KEYS[1] .. ARGV[1], ARGV[6], tonumber(ARGV[7])
if not advance(base, ARGV[2], ARGV[3], ARGV[4], ARGV[5]) then return 0 end
local row = redis.call('HGET', base .. ':rows', tag)
if not row then return 1 end
local serial = struct.unpack('>I8', row)
redis.call('HDEL', base .. ':rows', tag)
redis.call('ZREM', base .. ':tags', tag)
redis.call('HDEL', base .. ':serials', serial)
redis.call('ZREM', base .. ':changes', serial)
redis.call('ZADD', base .. ':deleted', tonumber(ARGV[2]) + 1, serial)
if redis.call('ZCARD', base .. ':deleted') > remembered then
  redis.call('HSET', base, 'floor', redis.call('ZPOPMIN', base .. ':deleted')[2])
end
redis.call('SREM', base .. ':with_photos', serial)
redis.call('UNLINK', base .. ':photos:' .. serial)
return 1
