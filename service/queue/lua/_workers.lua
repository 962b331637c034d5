-- What the live workers announced, in the order in which they came; workers that are gone are forgotten.
local function live_workers(prefix)
  local alive = {}
  for _, id in ipairs(redis.call('ZRANGE', prefix .. 'workers', 0, -1)) do
    local announced = redis.call('GET', prefix .. 'worker:' .. id)
    if announced then table.insert(alive, announced) else redis.call('ZREM', prefix .. 'workers', id) end
  end
  return alive
end
-- How many live workers have this model.
local function count_workers(prefix, model)
  local count = 0
  for _, announced in ipairs(live_workers(prefix)) do
    if cmsgpack.unpack(announced).model == model then count = count + 1 end
  end
  return count
end
