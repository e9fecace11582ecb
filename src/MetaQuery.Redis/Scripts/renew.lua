-- Renews leases that the worker still holds.
-- KEYS: run, then streams. ARGV: epoch, worker, then per lease the stream's number and the entry id.
-- Returns a letter per lease: 1 kept, 0 lost.
local kept = {}
local same = redis.call('HGET', KEYS[1], 'epoch') == ARGV[1]
for at = 3, #ARGV, 2 do
  local letter = '0'
  local key = KEYS[1 + tonumber(ARGV[at])]
  if same and redis.call('EXISTS', key) == 1 then
    local id = ARGV[at + 1]
    if #redis.call('XPENDING', key, 'w', id, id, 1, ARGV[2]) == 1 then
      redis.call('XCLAIM', key, 'w', ARGV[2], 0, id, 'JUSTID')
      letter = '1'
    end
  end
  kept[#kept + 1] = letter
end
return table.concat(kept)
