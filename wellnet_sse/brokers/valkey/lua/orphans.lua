-- The operations of a bucket with runs whose holder's lease is over, and those runs.
local LEASES, RUNS = KEYS[1], KEYS[2]

local function alive(holder)
  return tonumber(redis.call('ZSCORE', LEASES, holder) or '0') > now
end

if alive('') then return {} end
local found = {}
local runs = redis.call('HGETALL', RUNS)
for n = 1, #runs, 2 do
  local dead = {}
  for _, run in ipairs(cjson.decode(runs[n + 1])) do
    if not alive(run[2]) then dead[#dead + 1] = run[1] end
  end
  if #dead > 0 then found[#found + 1] = {runs[n], dead} end
end
return found
