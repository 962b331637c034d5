-- Included by create.lua, publish.lua and delete_collection.lua: the catalog changes with the collections.
local function is_catalog(prefix, name, old)
  return name == '' or redis.call('HGET', prefix .. 'records', name) == old
end
local function set_catalog(prefix, name, new)
  if name ~= '' then redis.call('HSET', prefix .. 'records', name, new) end
end
