-- Operations of a bucket that have not ended, at most so many.
local RESTING, IN_STEP, RUNS, limit = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1])
local found = {}
local function add(names)
  for _, name in ipairs(names) do
    if #found == limit then return end
    found[#found + 1] = name
  end
end
add(redis.call('HKEYS', RUNS))
add(redis.call('ZRANGE', IN_STEP, 0, limit - 1))
add(redis.call('ZRANGE', RESTING, 0, limit - 1))
return found
