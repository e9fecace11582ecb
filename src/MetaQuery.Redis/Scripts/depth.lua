-- What lies in streams. KEYS: streams. Returns per stream the entries and, of these, those that are leased.
local found = {}
for _, key in ipairs(KEYS) do
  local entries, leased = 0, 0
  if redis.call('EXISTS', key) == 1 then
    entries = redis.call('XLEN', key)
    leased = redis.call('XPENDING', key, 'w')[1]
  end
  found[#found + 1] = entries
  found[#found + 1] = leased
end
return found
