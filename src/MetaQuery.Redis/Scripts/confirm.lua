-- Forgets reports. KEYS: reports. ARGV: entry ids.
for _, id in ipairs(ARGV) do redis.call('XDEL', KEYS[1], id) end
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return 'OK'
