-- include _advance
-- Write a subject. KEYS: the prefix. ARGV: id, version that was read, ledger index, number of the ledger page, the page,
-- tag, lengths (8 bytes) and payload of the row, number of photos to delete, their media, then medium and photo of each
-- new one. Returns 0 when the collection has another version.
local base, tag = KEYS[1] .. ARGV[1], ARGV[6]
if not advance(base, ARGV[2], ARGV[3], ARGV[4], ARGV[5]) then return 0 end
local version = tonumber(ARGV[2]) + 1
local row = redis.call('HGET', base .. ':rows', tag)
local serial
if row then serial = struct.unpack('>I8', row) else serial = redis.call('HINCRBY', base, 'serial', 1) end
redis.call('HSET', base .. ':rows', tag, struct.pack('>I8I8', serial, version) .. ARGV[7] .. ARGV[8])
redis.call('ZADD', base .. ':tags', 0, tag)
redis.call('HSET', base .. ':serials', serial, tag)
redis.call('ZADD', base .. ':changes', version, serial)
local photos, deleted = base .. ':photos:' .. serial, tonumber(ARGV[9])
for i = 10, 9 + deleted do redis.call('HDEL', photos, ARGV[i]) end
for i = 10 + deleted, #ARGV, 2 do
  redis.call('HSET', photos, ARGV[i], ARGV[i + 1])
  redis.call('SADD', base .. ':with_photos', serial)
end
return 1
