-- Takes a job's entries out, waiting or leased, some at a time.
-- KEYS: stream. ARGV: job, first entry id, most entries to look at. Returns the id to go on from, or nothing.
if redis.call('EXISTS', KEYS[1]) == 0 then return '' end
local entries = redis.call('XRANGE', KEYS[1], ARGV[2], '+', 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
  if entry[2][4] == ARGV[1] then
    redis.call('XACK', KEYS[1], 'w', entry[1])
    redis.call('XDEL', KEYS[1], entry[1])
  end
end
return #entries == tonumber(ARGV[3]) and '(' .. entries[#entries][1] or ''
