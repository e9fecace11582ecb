-- Takes claimed entries out of a stream, with the same fence as a worker's report: what a late worker reported meanwhile is not taken.
-- Called again under the same name it changes nothing and answers the same.
-- KEYS: the answer's key, stream. ARGV: milliseconds to keep the answer, then entry ids.
-- Returns 1 where this very call did it or 0 where an earlier one did, then a letter per entry: 1 taken, 0 not found.
local before = redis.call('GET', KEYS[1])
if before then return '0' .. before end
local letters = {}
for at = 2, #ARGV do
  local taken = redis.call('XACK', KEYS[2], 'w', ARGV[at])
  if taken == 1 then redis.call('XDEL', KEYS[2], ARGV[at]) end
  letters[#letters + 1] = tostring(taken)
end
local answer = table.concat(letters)
redis.call('SET', KEYS[1], answer, 'PX', ARGV[1])
return '1' .. answer
