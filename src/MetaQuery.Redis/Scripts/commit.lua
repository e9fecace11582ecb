-- Takes a worker's reports: an entry that XACK does not find was taken back or withdrawn before, and its report is refused.
-- Called again under the same name it changes nothing and answers the same.
-- KEYS: run, reports, the answer's key, then streams.
-- ARGV: epoch, worker, wake channel, milliseconds to keep the answer, the call's name, then per report the stream's number, the entry id,
-- the outcome, and 1 where it is in the batch's inbox file.
-- Returns a letter per report: 1 taken, 0 refused.
local before = redis.call('GET', KEYS[3])
if before then return before end
local same = redis.call('HGET', KEYS[1], 'epoch') == ARGV[1]
local letters, taken, lastInFile = {}, {}, 0
for at = 6, #ARGV, 4 do
  local letter = '0'
  local key = KEYS[3 + tonumber(ARGV[at])]
  if same then
    local id = ARGV[at + 1]
    local entry = redis.call('XRANGE', key, id, id)
    if #entry == 1 and redis.call('XACK', key, 'w', id) == 1 then
      redis.call('XDEL', key, id)
      taken[#taken + 1] = {entry[1][2][2], ARGV[at + 2]}
      if ARGV[at + 3] == '1' then lastInFile = #taken end
      letter = '1'
    end
  end
  letters[#letters + 1] = letter
end
local answer = table.concat(letters)
if #taken > 0 then
  local number = redis.call('HINCRBY', KEYS[1], 'reported', #taken) - #taken
  for n, report in ipairs(taken) do
    -- z says that no later report names the batch's file; c tells this report from any other that ever had its number
    redis.call('XADD', KEYS[2], (number + n) .. '-0', 'i', report[1], 'w', ARGV[2], 'o', report[2], 'z', n == lastInFile and '1' or '0', 'c', ARGV[5])
  end
  redis.call('PUBLISH', ARGV[3], '')
end
redis.call('SET', KEYS[3], answer, 'PX', ARGV[4])
return answer
