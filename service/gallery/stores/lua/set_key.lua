-- Replace a collection's wrapped key. KEYS: the prefix. ARGV: id, old key, new key. Returns 0 when the key is another.
if redis.call('HGET', KEYS[1] .. ARGV[1], 'key') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1] .. ARGV[1], 'key', ARGV[3])
return 1
