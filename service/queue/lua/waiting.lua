-- KEYS prefix
-- ARGV reply stream
-- Returns the ids of the requests that are answered into this stream.
-- include _requests
local ids = {}
for _, model in ipairs(redis.call('ZRANGE', KEYS[1] .. 'models', 0, -1)) do
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1] .. 'requests:' .. model, '-', '+')) do
    local request = fields(entry)
    if request.to == ARGV[1] then table.insert(ids, request.id) end
  end
end
return ids
