-- A piece of history after a place, of one operation or of all.
local after_epoch, after, operation = ARGV[8], tonumber(ARGV[9]), ARGV[7]
local limit, look_at = tonumber(ARGV[10]), tonumber(ARGV[11])

local lost = after < floor
if operation ~= '' and redis.call('HEXISTS', OPERATIONS, operation) == 1 then
  lost = after < tonumber(redis.call('HGET', TRIMMED, operation) or '0')
end
if after_epoch ~= epoch or after > seq or lost then
  return {epoch, int(seq), int(floor), mark}
end

local wanted = '^%["' .. string.gsub(operation, '%p', '%%%0') .. '"'
local count = operation == '' and limit or look_at
local found = redis.call('XRANGE', LOG, int(after + 1), '+', 'COUNT', count)
local records, upto, read = {}, after, 0
for _, entry in ipairs(found) do
  if #records == 2 * limit then break end
  upto, read = tonumber(string.match(entry[1], '^%d+')), read + 1
  if operation == '' or string.find(entry[2][2], wanted) then
    records[#records + 1] = int(upto)
    records[#records + 1] = entry[2][2]
  end
end
if read == #found and #found < count then upto = seq end
return {epoch, int(seq), int(floor), mark, int(upto), records}
