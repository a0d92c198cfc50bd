-- The operations of a bucket with nothing running and no entry for so long; and how many have not ended.
local RESTING, IN_STEP, RUNS = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('ZRANGEBYSCORE', RESTING, '-inf', ARGV[1], 'LIMIT', 0, 1000)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', IN_STEP, '-inf', ARGV[2], 'LIMIT', 0, 1000)) do
  found[#found + 1] = name
end
local open = redis.call('ZCARD', RESTING) + redis.call('ZCARD', IN_STEP) + redis.call('HLEN', RUNS)
return {open, found}
