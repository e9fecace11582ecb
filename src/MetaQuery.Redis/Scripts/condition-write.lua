-- Keeps a condition; those whose time is up go, then the least recently used ones that the budget has no room for.
-- KEYS: the condition, uses, sizes. ARGV: its name, milliseconds to keep it unused, budget in bytes, prefix of conditions, its bytes.
-- Returns the bytes held in all and how many went for the budget.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local total = redis.call('HINCRBY', KEYS[3], 'total', #ARGV[5] - tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0'))
redis.call('HSET', KEYS[3], ARGV[1], #ARGV[5])
local function drop(name)
  total = redis.call('HINCRBY', KEYS[3], 'total', -tonumber(redis.call('HGET', KEYS[3], name) or '0'))
  redis.call('HDEL', KEYS[3], name)
  redis.call('ZREM', KEYS[2], name)
  redis.call('DEL', ARGV[4] .. name)
end
-- some at a time, for a script holds everybody else up; the next write goes on
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now - tonumber(ARGV[2]) * 1000, 'BYSCORE', 'LIMIT', 0, 64)) do drop(name) end
local evicted = 0
while total > tonumber(ARGV[3]) and evicted < 256 do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)
  if not oldest[1] then break end
  drop(oldest[1])
  evicted = evicted + 1
end
return {total, evicted}
