-- How far these users of a bucket are.
local heads = {}
for n, user in ipairs(ARGV) do heads[n] = redis.call('HGET', KEYS[1], user) end
return heads
