-- A worker's word. KEYS: workers, worker. ARGV: its id, status, milliseconds to remember it. Returns 1 to drain, 0 to go on, -1 where it is not known.
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[2], 'status', ARGV[2], 'seen', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('SADD', KEYS[1], ARGV[1])
return tonumber(redis.call('HGET', KEYS[2], 'drain') or '0')
