-- Appends items to their streams, once: called again under the same name it changes nothing.
-- KEYS: run, queues, then the streams. ARGV: head, epoch, the call's name, items that the head knows to be fed, items now, prefix of wake channels,
-- then per stream its short name and what its workers listen for, then per item the stream's number, the payload, the job.
-- Returns OK and the items fed in all; LOST where the data is not what this head fed; TAKEN where another head feeds.
local run = redis.call('HMGET', KEYS[1], 'epoch', 'head', 'fed', 'batch')
local fed = tonumber(run[3] or '0')
local now = tonumber(ARGV[5])
if run[1] ~= ARGV[2] or fed < tonumber(ARGV[4]) then return {'LOST'} end
if run[2] ~= ARGV[1] then return {'TAKEN'} end
if run[4] == ARGV[3] then return {'OK', fed} end
local streams = #KEYS - 2
for s = 1, streams do
  if redis.call('EXISTS', KEYS[s + 2]) == 0 then
    redis.call('XGROUP', 'CREATE', KEYS[s + 2], 'w', '0', 'MKSTREAM')
    redis.call('SADD', KEYS[2], ARGV[5 + 2 * s])
  end
end
local at = 7 + 2 * streams
for n = 1, now do
  redis.call('XADD', KEYS[2 + tonumber(ARGV[at])], (fed + n) .. '-0', 'i', ARGV[at + 1], 'j', ARGV[at + 2])
  at = at + 3
end
redis.call('HSET', KEYS[1], 'fed', fed + now, 'batch', ARGV[3])
for s = 1, streams do
  redis.call('PUBLISH', ARGV[6] .. ARGV[6 + 2 * s], '')
end
return {'OK', fed + now}
