-- What XINFO GROUPS says about the one group of a stream, by name; empty when there is no stream or no group.
local function group(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  local state = {}
  if not groups.err and groups[1] then
    for i = 1, #groups[1], 2 do state[groups[1][i]] = groups[1][i + 1] end
  end
  return state
end
