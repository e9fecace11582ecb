-- Reads a condition and notes its use.
-- KEYS: the condition, uses, sizes. ARGV: its name, milliseconds to keep it unused. Returns its bytes (or nothing) and the bytes held in all.
local value = redis.call('GET', KEYS[1])
if value then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], time[1] * 1000000 + time[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  local size = redis.call('HGET', KEYS[3], ARGV[1])
  if size then -- its time was up
    redis.call('HDEL', KEYS[3], ARGV[1])
    redis.call('HINCRBY', KEYS[3], 'total', -size)
    redis.call('ZREM', KEYS[2], ARGV[1])
  end
end
return {value, tonumber(redis.call('HGET', KEYS[3], 'total') or '0')}
