-- Removes a stream that is empty, or else its consumers that hold nothing and were not seen for long.
-- KEYS: queues, stream. ARGV: the stream's short name, milliseconds unseen. Returns the consumers that hold something.
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[1], ARGV[1])
  return {}
end
local pending = redis.call('XPENDING', KEYS[2], 'w')
if pending[1] == 0 and redis.call('XLEN', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('SREM', KEYS[1], ARGV[1])
  return {}
end
local holders = {}
for _, consumer in ipairs(pending[4] or {}) do holders[#holders + 1] = consumer[1] end
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], 'w')) do
  local consumer = {}
  for at = 1, #info, 2 do consumer[info[at]] = info[at + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], 'w', consumer.name)
  end
end
return holders
