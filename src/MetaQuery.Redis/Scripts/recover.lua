-- For a head that starts: takes out what nobody holds, some at a time.
-- KEYS: stream. ARGV: the head's consumer, most. Returns how many it took out.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local count = 0
for _, from in ipairs({'0', '>'}) do
  local reply = redis.call('XREADGROUP', 'GROUP', 'w', ARGV[1], 'COUNT', ARGV[2], 'STREAMS', KEYS[1], from)
  if reply then
    for _, entry in ipairs(reply[1][2]) do
      redis.call('XACK', KEYS[1], 'w', entry[1])
      redis.call('XDEL', KEYS[1], entry[1])
      count = count + 1
    end
  end
end
return count
