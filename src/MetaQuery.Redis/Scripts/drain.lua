-- Asks a worker to drain. KEYS: worker. Returns 0 where there is none.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'drain', '1')
return 1
