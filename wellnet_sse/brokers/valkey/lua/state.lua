-- Operations at one moment: one by its name, or those that have not ended and some that have.
local OPEN, ENDINGS, FINISHED = KEYS[6], KEYS[7], KEYS[8]
local operation, after, since, newest = ARGV[7], ARGV[8], ARGV[9], ARGV[10]

local names = {}
if operation ~= '' then
  names = {operation}
else
  names = redis.call('SMEMBERS', OPEN)
  local bound = newest ~= '' and {'LIMIT', 0, newest} or {}
  if after ~= '' then
    for _, name in ipairs(redis.call('ZREVRANGEBYSCORE', ENDINGS, '+inf', '(' .. after, unpack(bound))) do
      names[#names + 1] = name
    end
  end
  if since ~= '' then
    for _, name in ipairs(redis.call('ZREVRANGEBYSCORE', FINISHED, '+inf', since, unpack(bound))) do
      names[#names + 1] = name
    end
  end
end
local found = {}
for _, name in ipairs(names) do
  local kept = redis.call('HGET', OPERATIONS, name)
  if kept then
    found[#found + 1] = name
    found[#found + 1] = kept
  end
end
return {epoch, int(seq), int(floor), mark, found}
