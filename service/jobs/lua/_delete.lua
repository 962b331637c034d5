-- Delete a job with all that belongs to it. Returns 1 if it was there.
local function delete(prefix, id)
  local key = prefix .. id
  redis.call('ZREM', prefix .. 'open', id)
  redis.call('ZREM', prefix .. 'kept', id)
  redis.call('UNLINK', key .. ':items', key .. ':results', key .. ':deliveries')
  return redis.call('UNLINK', key)
end
