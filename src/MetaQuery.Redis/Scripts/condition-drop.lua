-- Removes a condition that is damaged, unless another has taken its place.
-- KEYS: the condition, uses, sizes. ARGV: its name, the damaged bytes. Returns the bytes held in all.
if redis.call('GET', KEYS[1]) == ARGV[2] then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HINCRBY', KEYS[3], 'total', -tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0'))
  redis.call('HDEL', KEYS[3], ARGV[1])
end
return tonumber(redis.call('HGET', KEYS[3], 'total') or '0')
