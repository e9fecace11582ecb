-- A head takes the namespace over. Where there is no data yet, nothing may be left over either: its numbers would not go on.
-- KEYS: run, queues, reports. ARGV: the head's name, a name for the data should there be none, prefix of streams.
-- Returns epoch, number of the last item fed, reports made.
if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[2]) == 1 then
  for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    redis.call('DEL', ARGV[3] .. name)
  end
  redis.call('DEL', KEYS[2], KEYS[3])
else
  -- should Redis have lost its last writes together with the head that knew of them: no entry id is given out twice
  redis.call('HINCRBY', KEYS[1], 'fed', 1000000)
end
redis.call('HSET', KEYS[1], 'head', ARGV[1])
local run = redis.call('HMGET', KEYS[1], 'epoch', 'fed', 'reported')
return {run[1], run[2] or '0', run[3] or '0'}
