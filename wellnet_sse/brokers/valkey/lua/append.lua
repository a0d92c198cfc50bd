-- Writes one append, if the operation is still what the change was judged by, and nobody used its key.
local OPEN, ENDINGS, FINISHED, STARTED = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local RESTING, IN_STEP, RUNS, KEY = KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local operation, expected, own, state = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local standing, runs, started, updated, ending = ARGV[11], ARGV[12], ARGV[13], ARGV[14], tonumber(ARGV[15])
local history, events, fingerprint, channel = tonumber(ARGV[16]), tonumber(ARGV[17]), ARGV[18], ARGV[19]
local FIRST_ENTRY = 20

if KEY then
  local at, place, used_for = string.match(redis.call('GET', KEY) or '', '^(%d+) (%d+) (.*)$')
  if at and tonumber(at) >= now - history then return {'used', epoch, place, used_for} end
end

local kept = redis.call('HGET', OPERATIONS, operation)
if (kept and string.match(kept, '^%S+') or '') ~= expected then
  return {'stale', epoch, kept}
end

local base = seq
for n = FIRST_ENTRY, #ARGV do
  seq = seq + 1
  redis.call('XADD', LOG, int(seq) .. '-0', 'e', ARGV[n], 'w', own)
end
touched = now
if seq > base then mark = own end
redis.call('HSET', OPERATIONS, operation, table.concat({own, int(base), state}, ' '))
if not kept then
  redis.call('ZADD', STARTED, started, operation)
  -- A namesake may be forgotten, with what it wrote.
  if floor > 0 then redis.call('HSET', TRIMMED, operation, int(floor)) end
end

if standing == 'ended' then
  -- A place of this very append is told as how many entries it is past the base.
  redis.call('ZADD', ENDINGS, int(ending < 0 and base - ending or ending), operation)
  redis.call('ZADD', FINISHED, updated, operation)
  redis.call('SREM', OPEN, operation)
else
  redis.call('SADD', OPEN, operation)
  redis.call('ZREM', ENDINGS, operation)
  redis.call('ZREM', FINISHED, operation)
end
for name, key in pairs({resting = RESTING, in_step = IN_STEP}) do
  if name == standing then
    redis.call('ZADD', key, updated, member())
  else
    redis.call('ZREM', key, member())
  end
end
if standing == 'running' then
  redis.call('HSET', RUNS, member(), runs)
else
  redis.call('HDEL', RUNS, member())
end

if KEY then
  local place = seq > base and base + 1 or 0
  local use = table.concat({int(now), int(place), fingerprint}, ' ')
  redis.call('SET', KEY, use, 'PX', int(history + 60000))
end
if seq - floor > events + math.floor(events / 16) then
  forget(seq - events)
  redis.call('ZADD', USERS, 0, user) -- there may be as many operations that are to go
end
keep_head()
if seq > base then
  local header = table.concat({epoch, int(base + 1), mark}, ' ')
  -- A hint only: what is written stays written, although nobody can be told.
  redis.pcall('SPUBLISH', channel, header .. '\n' .. table.concat(ARGV, '\n', FIRST_ENTRY))
end
return {'done', epoch, int(base)}
