-- Forgets reports, those and no others that have their numbers by now. A head that was replaced forgets none: they are the next one's.
-- KEYS: reports, run. ARGV: head, then entry id and name of the call that made it, each. Returns OK, or TAKEN where another head feeds.
local head = redis.call('HGET', KEYS[2], 'head')
if head and head ~= ARGV[1] then return 'TAKEN' end
for at = 2, #ARGV, 2 do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[at], ARGV[at])
  if #entry == 1 and entry[1][2][10] == ARGV[at + 1] then redis.call('XDEL', KEYS[1], ARGV[at]) end
end
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return 'OK'
