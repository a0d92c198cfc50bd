-- Comes before every script of leases. All nodes go by one clock, the store's own, unless the caller brings one.
local time = redis.call('TIME')
local now = tonumber(ARGV[1]) or time[1] * 1000 + math.floor(time[2] / 1000)
