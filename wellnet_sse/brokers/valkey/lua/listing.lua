-- Operations, newest first by (started_ms, operation_id), after a place.
local STARTED = KEYS[6]
local limit, before_ms, before = tonumber(ARGV[8]), ARGV[9], ARGV[7]

local names = {}
local function add(found)
  for _, name in ipairs(found) do
    if #names < limit then names[#names + 1] = name end
  end
end
if before_ms == '' then
  add(redis.call('ZREVRANGEBYSCORE', STARTED, '+inf', '-inf', 'LIMIT', 0, limit))
else
  for _, name in ipairs(redis.call('ZREVRANGEBYSCORE', STARTED, before_ms, before_ms)) do
    if name < before then add({name}) end
  end
  add(redis.call('ZREVRANGEBYSCORE', STARTED, '(' .. before_ms, '-inf', 'LIMIT', 0, limit))
end
local found = {}
for _, name in ipairs(names) do
  found[#found + 1] = name
  found[#found + 1] = redis.call('HGET', OPERATIONS, name)
end
return {epoch, int(seq), int(floor), mark, found}
