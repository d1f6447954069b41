-- A stream of new payloads for wrk. Arguments: the body with a hole of ten at-signs where the serial number goes, and
-- the header Authorization. The number has ten digits always, so that the head of every request is the same.
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
