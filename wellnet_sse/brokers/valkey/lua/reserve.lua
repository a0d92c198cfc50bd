-- So many streams of a user are open at a process: noted, unless it is one more than all may have together.
local LEASES, STREAMS = KEYS[1], KEYS[2]
local holder, streams, version, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local others, own, newest = 0, 0, 0
local open = redis.call('HGETALL', STREAMS)
for n = 1, #open, 2 do
  local count, told = string.match(open[n + 1], '^(%d+) (%d+)$')
  if open[n] == holder then
    own, newest = tonumber(count), tonumber(told)
  else
    -- One whose lease is over does not count, but may come back: it was perhaps the store that was away.
    local lease = redis.call('ZSCORE', LEASES, open[n])
    if not lease then
      redis.call('HDEL', STREAMS, open[n]) -- nobody knows it any more
    elseif tonumber(lease) > now then
      others = others + tonumber(count)
    end
  end
end
if streams > own and others + streams > limit then return 0 end
if version > newest then -- else a later one has overtaken this
  redis.call('HSET', STREAMS, holder, streams .. ' ' .. ARGV[4])
  redis.call('EXPIRE', STREAMS, 86400) -- whoever never comes back is forgotten
end
return 1
