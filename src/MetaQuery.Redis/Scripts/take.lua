-- Takes claimed entries out of a stream, with the same fence as a worker's report: what a late worker reported meanwhile is not taken.
-- KEYS: the answer's key, stream. ARGV: milliseconds to keep the answer, then entry ids. Returns a letter per entry.
local before = redis.call('GET', KEYS[1])
if before then return before end
local letters = {}
for at = 2, #ARGV do
  local taken = redis.call('XACK', KEYS[2], 'w', ARGV[at])
  if taken == 1 then redis.call('XDEL', KEYS[2], ARGV[at]) end
  letters[#letters + 1] = tostring(taken)
end
local answer = table.concat(letters)
redis.call('SET', KEYS[1], answer, 'PX', ARGV[1])
return answer
