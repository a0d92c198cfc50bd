-- Forget what retention no longer covers of one user, a piece at a time; whether more is due.
local OPEN, ENDINGS, FINISHED, STARTED = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local before, history, events = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local PIECE = 200

local more = forget(seq, before)
if seq - floor > events then more = forget(seq - events) or more end

local ended = redis.call('ZRANGEBYSCORE', FINISHED, '-inf', '(' .. int(before), 'LIMIT', 0, PIECE)
more = more or #ended == PIECE
local surplus = redis.call('ZCARD', ENDINGS) - #ended - events
if surplus > 0 then
  for _, name in ipairs(redis.call('ZRANGE', ENDINGS, 0, math.min(surplus, PIECE) - 1)) do
    ended[#ended + 1] = name
  end
end
for _, name in ipairs(ended) do
  redis.call('HDEL', OPERATIONS, name)
  redis.call('HDEL', TRIMMED, name)
  redis.call('ZREM', ENDINGS, name)
  redis.call('ZREM', FINISHED, name)
  redis.call('ZREM', STARTED, name)
end

-- When to look again: as soon as the oldest of what is left is too old.
local first = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
local oldest = redis.call('ZRANGE', FINISHED, 0, 0, 'WITHSCORES')[2]
local due = first and tonumber(string.match(first[2][2], ',(%d+)%]$'))
if oldest then due = math.min(due or tonumber(oldest), tonumber(oldest)) end
if due or redis.call('HLEN', OPERATIONS) > 0 then
  redis.call('ZADD', USERS, int(due or touched), user)
  keep_head()
elseif touched + history < before then
  redis.call('HDEL', HEADS, user)
  redis.call('DEL', LOG)
  redis.call('ZREM', USERS, user)
else
  redis.call('ZADD', USERS, int(touched + history), user)
  keep_head()
end
return more and 1 or 0
