-- What an append is judged by, fresh: the operation, the use of its key; and whether an append of this mark,
-- whose answer was lost, was kept after all.
local KEY = KEYS[6]
local operation, history, own = ARGV[7], tonumber(ARGV[8]), ARGV[9]

local place, used_for
if KEY then
  local at
  at, place, used_for = string.match(redis.call('GET', KEY) or '', '^(%d+) (%d+) (.*)$')
  if at and tonumber(at) < now - history then used_for = nil end
end
local kept = redis.call('HGET', OPERATIONS, operation)
local found = {}
local mine = 0
if own ~= '' then
  if kept and string.match(kept, '^%S+') == own then mine = 1 end
  local newest = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1000)
  for n = #newest, 1, -1 do
    if newest[n][2][4] == own then
      mine = 1
      found[#found + 1] = string.match(newest[n][1], '^%d+')
      found[#found + 1] = newest[n][2][2]
    end
  end
end
return {epoch, kept, used_for and {place, used_for} or false, mine, found} -- a nil would end it
