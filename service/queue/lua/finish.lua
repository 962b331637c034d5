#!lua flags=allow-oom
-- Answer and forget requests. Only the first answer to a request is sent.
-- KEYS prefix
-- ARGV model, then for each request: entry, id, bytes of its photo, reply stream, outcome
-- include _requests
for i = 2, #ARGV, 5 do
  if remove(KEYS[1], ARGV[1], ARGV[i], ARGV[i + 1], ARGV[i + 2]) then answer(ARGV[i + 3], ARGV[i + 4]) end
end
