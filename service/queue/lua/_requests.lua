-- The fields of a stream's entry by name.
local function fields(entry)
  local read = {id = '', h = '', n = '0', t = '0', to = ''}
  for i = 1, #entry[2], 2 do read[entry[2][i]] = entry[2][i + 1] end
  return read
end
-- Forget a request with its photo. False when it was forgotten before: then somebody answered it already.
local function remove(prefix, model, entry_id, request_id, size)
  local stream = prefix .. 'requests:' .. model
  redis.call('XACK', stream, 'workers', entry_id)
  if redis.call('XDEL', stream, entry_id) == 0 then return false end
  redis.call('DECRBY', prefix .. 'bytes:' .. model, tonumber(size) or 0)
  redis.call('DEL', prefix .. 'image:' .. request_id)
  return true
end
-- Send an outcome; the stream of an API process that is gone expires soon.
local function answer(reply_to, outcome)
  if reply_to == '' then return end
  local missing = redis.call('EXISTS', reply_to) == 0
  redis.call('XADD', reply_to, '*', 'r', outcome)
  if missing then redis.call('PEXPIRE', reply_to, 5000) end
end
