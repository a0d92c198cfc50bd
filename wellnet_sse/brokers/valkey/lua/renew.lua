-- A process says that it lives. In each bucket, so that whoever asks there sees it.
local LEASES = KEYS[1]
local holder, lease = ARGV[2], tonumber(ARGV[3])

-- Where nobody was heard of for a while it is the store that was away: nobody is judged until all
-- have had time to say that they live. The empty name keeps until when.
local newest = redis.call('ZREVRANGE', LEASES, 0, 0, 'WITHSCORES')[2]
if newest and tonumber(newest) - now < lease / 2 then redis.call('ZADD', LEASES, now + lease, '') end
redis.call('ZREMRANGEBYSCORE', LEASES, '-inf', now - 86400000)
redis.call('ZADD', LEASES, now + lease, holder)
return 1
