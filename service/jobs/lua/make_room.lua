-- Delete the oldest finished jobs until so many bytes more fit, first of one owner, then of all.
-- KEYS prefix
-- ARGV owner, bytes, most bytes of an owner, most bytes in all, most jobs, a job that is not deleted
-- Returns 1 when they fit, else 0.
-- include _delete
local prefix, owner, bytes = KEYS[1], ARGV[1], tonumber(ARGV[2])
local jobs, mine, all, count = {}, 0, 0, 0
for _, id in ipairs(redis.call('ZRANGE', prefix .. 'kept', 0, -1)) do
  local row = redis.call('HMGET', prefix .. id, 'owner', 'size', 'ended')
  if row[2] then
    local job = {id = id, mine = row[1] == owner, size = tonumber(row[2]), finished = row[3] and id ~= ARGV[6]}
    table.insert(jobs, job)
    all = all + job.size
    count = count + 1
    if job.mine then mine = mine + job.size end
  else
    redis.call('ZREM', prefix .. 'kept', id)
  end
end
local function delete_oldest(only_mine, is_over)
  for _, job in ipairs(jobs) do
    if not is_over() then return end
    if job.finished and (job.mine or not only_mine) then
      delete(prefix, job.id)
      job.finished = false
      all = all - job.size
      count = count - 1
      if job.mine then mine = mine - job.size end
    end
  end
end
local function owner_is_over() return mine + bytes > tonumber(ARGV[3]) end
local function all_are_over() return all + bytes > tonumber(ARGV[4]) or count > tonumber(ARGV[5]) end
delete_oldest(true, owner_is_over)
delete_oldest(false, all_are_over)
return (owner_is_over() or all + bytes > tonumber(ARGV[4])) and 0 or 1
