-- Gives a right back, unless it ran out and is another's. KEYS: flight. ARGV: token.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 'OK'
