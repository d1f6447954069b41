-- A stream of new payloads for wrk. Arguments: the body with a hole of ten at-signs where the serial number goes, the
-- header Authorization, and how many requests a second are sent at most (0: as many as are answered). The number has
-- ten digits always, so that the head of every request is the same.
local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int clock, moment *now);")
local MONOTONIC = 1
local hole = "@@@@@@@@@@"
local parts = {}
local serial = 0

init = function(args)
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = args[2] }
  local whole = wrk.format("POST", nil, headers, args[1])
  local from = 1
  while true do
    local first, last = string.find(whole, hole, from, true)
    if not first then break end
    parts[#parts + 1] = string.sub(whole, from, first - 1)
    from = last + 1
  end
  parts[#parts + 1] = string.sub(whole, from)
  if tonumber(args[3]) > 0 then delay = paced(1000 / tonumber(args[3])) end
end

-- The milliseconds until each request's turn in an even schedule. A subject that cannot keep up is not chased: what is
-- late by more than a tenth of a second is left out of the schedule.
paced = function(interval)
  local moment, due = ffi.new("moment"), nil
  return function()
    ffi.C.clock_gettime(MONOTONIC, moment)
    local now = tonumber(moment.seconds) * 1000 + tonumber(moment.nanoseconds) / 1e6
    due = math.max((due or now) + interval, now - 100)
    return math.max(0, math.floor(due - now + math.random()))
  end
end

request = function()
  serial = serial + 1
  return table.concat(parts, string.format("%010d", serial))
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"microseconds":%d,"p50":%.1f,"p99":%.1f,"broken":%d,"refused":%d}\n',
    summary.requests, summary.duration, latency:percentile(50.0), latency:percentile(99.0),
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
