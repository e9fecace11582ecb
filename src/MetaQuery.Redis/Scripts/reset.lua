-- After a loss: the streams of items go, and every lease with them. Reports stay where their numbers go on.
-- KEYS: run, queues, reports. ARGV: head, a name for the data, prefix of streams.
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  redis.call('DEL', ARGV[3] .. name)
end
redis.call('DEL', KEYS[2])
if redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then redis.call('DEL', KEYS[3]) end
redis.call('HDEL', KEYS[1], 'fed', 'batch')
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'head', ARGV[1])
return redis.call('HGET', KEYS[1], 'reported') or '0'
