-- Keeps a right for longer, unless it ran out and is another's. KEYS: flight. ARGV: token, milliseconds.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 'OK'
