-- How many of the wanted actions a user may do now; and if none, after how many milliseconds the next.
-- Actions are spread along the time line at the lasting rate, at most a burst ahead of now (GCRA).
local SPREAD_UNTIL = KEYS[1]
local each, burst, wanted = 1000 / tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local ahead = tonumber(redis.call('GET', SPREAD_UNTIL) or '0') - now
ahead = math.min(math.max(ahead, 0), burst * each) -- the clock may have been set back
local given = math.min(math.floor(burst - ahead / each + 1e-6), wanted)
if given < 1 then return {0, math.ceil(ahead + each - burst * each)} end
ahead = ahead + given * each
redis.call('SET', SPREAD_UNTIL, string.format('%.3f', now + ahead), 'PX', math.ceil(ahead))
return {given, 0}
