-- Comes before every script of a user. Where their history stands: epoch, seq, the floor up to which nothing is kept,
-- when it was last written, and the mark of the append that wrote its newest entry.
local HEADS, LOG, USERS, OPERATIONS, TRIMMED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local user, now, fresh = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local seen_epoch, seen_seq, seen_mark = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local epoch, seq, floor, touched, mark

local function int(number)
  return string.format('%.0f', number) -- Lua's own way turns to exponents
end

local function keep_head()
  redis.call('HSET', HEADS, user, table.concat({epoch, int(seq), int(floor), int(touched), mark}, ' '))
end

local function member()
  return user .. ':' .. ARGV[7]
end

-- What was seen is not there: a replica took over, or an older file was loaded. Its numbers were or will be
-- given to others, so they get a new epoch. Once: what is seen names the old one.
local function fell_back()
  if epoch ~= seen_epoch then return false end
  if seq < seen_seq then return true end
  if seen_mark == '' or seen_seq <= floor then return false end
  if seq == seen_seq then return mark ~= seen_mark end
  local entry = redis.call('XRANGE', LOG, int(seen_seq), int(seen_seq))[1]
  return not entry or entry[2][4] ~= seen_mark
end

local head = redis.call('HGET', HEADS, user)
if head then
  epoch, seq, floor, touched, mark = string.match(head, '^(%w+) (%d+) (%d+) (%d+) (.*)$')
  seq, floor, touched = tonumber(seq), tonumber(floor), tonumber(touched)
  if fell_back() then
    epoch = fresh
    keep_head()
  end
else
  epoch, seq, floor, touched, mark = fresh, 0, 0, now, ''
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
