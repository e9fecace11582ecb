-- Hands entries to a worker: from each stream in turn up to its own limit, up to a limit in all.
-- KEYS: run, then streams (one may stand twice). ARGV: worker, most in all, most of its own to name again, then a limit per stream.
-- Returns the epoch, then stream number, entry id and payload of each entry. What it held before is named only where that was asked for.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then return {} end
local found = {epoch}
local left = tonumber(ARGV[2])
local own = tonumber(ARGV[3])
local function collect(stream, most, from)
  local reply = redis.call('XREADGROUP', 'GROUP', 'w', ARGV[1], 'COUNT', most, 'STREAMS', KEYS[stream], from)
  if not reply then return 0 end
  for _, entry in ipairs(reply[1][2]) do
    if entry[2] then
      found[#found + 1] = stream
      found[#found + 1] = entry[1]
      found[#found + 1] = entry[2][2]
    end
  end
  return #reply[1][2]
end
for stream = 2, #KEYS do
  if redis.call('EXISTS', KEYS[stream]) == 1 then
    if own > 0 then
      collect(stream, own, '0')
    end
    local most = math.min(left, tonumber(ARGV[2 + stream]))
    if most > 0 then
      left = left - collect(stream, most, '>')
    end
  end
end
return found
