-- Included by delete_collection.lua and publish.lua: delete a collection, its wrapped key first.
local function delete_collection(prefix, id)
  local tag = redis.call('HGET', prefix .. id, 'tag')
  if not tag then return 0 end
  redis.call('DEL', prefix .. id)
  if redis.call('HGET', prefix .. 'names', tag) == id then
    redis.call('HDEL', prefix .. 'names', tag)
    redis.call('ZREM', prefix .. 'tags', tag)
  end
  redis.call('SREM', prefix .. 'ids', id)
  for _, serial in ipairs(redis.call('SMEMBERS', prefix .. id .. ':with_photos')) do
    redis.call('UNLINK', prefix .. id .. ':photos:' .. serial)
  end
  for _, part in ipairs({'rows', 'tags', 'serials', 'changes', 'deleted', 'with_photos', 'ledger'}) do
    redis.call('UNLINK', prefix .. id .. ':' .. part)
  end
  return 1
end
