-- Who is there. KEYS: model, workers. ARGV: prefix of workers, and the two revisions that the head requires, again in case they were lost.
-- Returns info, status and milliseconds since the last word of each.
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'images', ARGV[2], 'conditions', ARGV[3]) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local worker = redis.call('HMGET', ARGV[1] .. id, 'info', 'status', 'seen', 'v')
  if worker[1] and worker[4] == '1' then -- else of another version of the farm: no worker for this head
    found[#found + 1] = worker[1]
    found[#found + 1] = worker[2]
    found[#found + 1] = now - tonumber(worker[3])
  elseif not worker[1] then
    redis.call('SREM', KEYS[2], id)
  end
end
return found
