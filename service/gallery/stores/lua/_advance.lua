-- Included by put.lua and delete.lua: raise a collection's version by one and write its ledger, if it still has the
-- version that the writer read.
local function advance(base, version, index, number, page)
  if redis.call('HGET', base, 'version') ~= version then return false end
  redis.call('HSET', base, 'version', string.format('%d', tonumber(version) + 1), 'ledger', index)
  redis.call('HSET', base .. ':ledger', number, page)
  return true
end
