-- Become the owner of a job whose lease ended. Only a job is taken whose lease had ended at the last look too: Redis'
-- clock may just have jumped ahead.
-- KEYS prefix
-- ARGV milliseconds of the lease, jobs whose lease had ended at the last look
-- Returns the job and an empty list; or false and the jobs whose lease has ended now.
-- include _clock
local confirmed, ended = {}, {}
for i = 2, #ARGV do confirmed[ARGV[i]] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. 'open', '-inf', now())) do
  if redis.call('EXISTS', KEYS[1] .. id) == 0 then
    redis.call('ZREM', KEYS[1] .. 'open', id)
  elseif confirmed[id] then
    redis.call('ZADD', KEYS[1] .. 'open', now() + ARGV[1], id)
    return {id, {}}
  else
    table.insert(ended, id)
  end
end
return {false, ended}
