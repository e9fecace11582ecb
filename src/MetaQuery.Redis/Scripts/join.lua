-- A worker joins, if its model is the one that jobs are for.
-- KEYS: model, workers, worker. ARGV: its id, image model, condition model, info, status, milliseconds to remember it.
-- Returns the two revisions that are required where they are others, or nothing.
local required = redis.call('HMGET', KEYS[1], 'images', 'conditions')
if required[1] and (required[1] ~= ARGV[2] or required[2] ~= ARGV[3]) then return required end
local time = redis.call('TIME')
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'v', '1', 'info', ARGV[4], 'status', ARGV[5], 'seen', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('PEXPIRE', KEYS[3], ARGV[6])
redis.call('SADD', KEYS[2], ARGV[1])
return {}
