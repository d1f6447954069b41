# When a grant holds. All of it is UTC, and each part is optional:
#   weekdays  a list of "mon", "tue", "wed", "thu", "fri", "sat" and "sun"
#   hours     ["09:00", "17:30"]: from the first time of day until before the second; ["22:00", "06:00"] is a night
#   until     "2030-12-31T18:00Z": from that minute on it does not hold
#
# Times are compared as text, so one that is not as long as these never holds.
package sidecar.authz

holds_now(grant) if {
	on_weekday(grant)
	in_hours(grant)
	not_over(grant)
}

on_weekday(grant) if not grant.weekdays

on_weekday(grant) if ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][input.time.weekday] in grant.weekdays

in_hours(grant) if not grant.hours

in_hours(grant) if {
	[start, end] := grant.hours
	{count(start), count(end)} == {5}
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

not_over(grant) if not grant.until

not_over(grant) if {
	count(grant.until) == 17
	now < grant.until
}

clock := sprintf("%02d:%02d", [input.time.hour, input.time.minute])

now := sprintf("%sT%sZ", [input.time.date, clock])
