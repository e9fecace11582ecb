-- Names what workers hold, some at a time.
-- KEYS: stream. ARGV: first entry id, most. Returns the id to go on from (or none), then the payloads.
if redis.call('EXISTS', KEYS[1]) == 0 then return {''} end
local pending = redis.call('XPENDING', KEYS[1], 'w', ARGV[1], '+', ARGV[2])
local found = {#pending == tonumber(ARGV[2]) and '(' .. pending[#pending][1] or ''}
for _, lease in ipairs(pending) do
  local entry = redis.call('XRANGE', KEYS[1], lease[1], lease[1])
  if #entry == 1 then found[#found + 1] = entry[1][2][2] end
end
return found
