# When a grant holds. All of it is UTC, and each part is optional:
#   weekdays  a list of "mon", "tue", "wed", "thu", "fri", "sat" and "sun"; after midnight a night is the next day
#   hours     ["09:00", "17:30"]: from the first time of day until before the second; ["22:00", "06:00"] is a night
#   until     "2030-12-31T18:00Z": from that minute on it does not hold
#
# Times are compared as text, so one that is not written like these never holds: "31.12.2030 18:00Z" would come after
# every date of this era.
package sidecar.authz

holds_now(grant) if {
	on_weekday(grant)
	in_hours(grant)
	not_over(grant)
}

on_weekday(grant) if not "weekdays" in object.keys(grant)

on_weekday(grant) if ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][input.time.weekday] in grant.weekdays

in_hours(grant) if not "hours" in object.keys(grant)

in_hours(grant) if {
	[start, end] := grant.hours
	shape(start) == "00:00"
	shape(end) == "00:00"
	within(start, end)
}

within(start, end) if {
	start < end
	clock >= start
	clock < end
}

within(start, end) if {
	start > end
	clock >= start
}

within(start, end) if {
	start > end
	clock < end
}

not_over(grant) if not "until" in object.keys(grant)

not_over(grant) if {
	shape(grant.until) == "0000-00-00T00:00Z"
	now < grant.until
}

# A text with each of its digits as a zero.
shape(text) := strings.replace_n(
	{"1": "0", "2": "0", "3": "0", "4": "0", "5": "0", "6": "0", "7": "0", "8": "0", "9": "0"},
	text,
)

clock := sprintf("%02d:%02d", [input.time.hour, input.time.minute])

now := sprintf("%sT%sZ", [input.time.date, clock])
