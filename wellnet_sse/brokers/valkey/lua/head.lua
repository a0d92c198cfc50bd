-- Comes before every script of a user. One place in history: epoch, seq, and the floor up to which nothing is kept.
local HEADS, LOG, USERS, OPERATIONS, TRIMMED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local user, now, fresh = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local seen_epoch, seen_seq, seen_mark = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local epoch, seq, floor

local function int(number)
  return string.format('%.0f', number) -- Lua's own way turns to exponents
end

local function keep_head()
  redis.call('HSET', HEADS, user, table.concat({epoch, int(seq), int(floor), int(now)}, ' '))
end

local function mark_at(place)
  local found = redis.call('XRANGE', LOG, int(place), int(place))[1]
  return found and found[2][4] or ''
end

local function member()
  return user .. ':' .. ARGV[7]
end

-- What was seen is not there: a replica took over, or an older file was loaded. Its numbers were or will be
-- given to others, so they get a new epoch. Once: what is seen names the old one.
local function fell_back()
  if epoch ~= seen_epoch then return false end
  if seq < seen_seq then return true end
  return seen_mark ~= '' and seen_seq > floor and mark_at(seen_seq) ~= seen_mark
end

local head = redis.call('HGET', HEADS, user)
if head then
  epoch, seq, floor = string.match(head, '^(%w+) (%d+) (%d+)')
  seq, floor = tonumber(seq), tonumber(floor)
  if fell_back() then
    epoch = fresh
    keep_head()
  end
else
  epoch, seq, floor = fresh, 0, 0
  keep_head()
  redis.call('ZADD', USERS, now, user)
end

-- Forget the oldest entries up to a place, or up to a time, a thousand at most; whether more are due.
local function forget(upto, before)
  local old = redis.call('XRANGE', LOG, '-', int(upto), 'COUNT', 1000)
  local last, newest = nil, {}
  for _, entry in ipairs(old) do
    local text = entry[2][2]
    if before and tonumber(string.match(text, ',(%d+)%]$')) >= before then break end
    last = tonumber(string.match(entry[1], '^%d+'))
    newest[string.match(text, '^%["([^"]+)"')] = last
  end
  if not last then return false end
  for operation, place in pairs(newest) do
    if redis.call('HEXISTS', OPERATIONS, operation) == 1 then
      redis.call('HSET', TRIMMED, operation, int(place))
    end
  end
  redis.call('XTRIM', LOG, 'MINID', int(last + 1))
  floor = last
  return #old == 1000
end
