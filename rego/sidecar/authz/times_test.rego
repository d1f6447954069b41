package sidecar.authz_test

# The fixture's call is on Wednesday 2030-01-09 at 12:00.
timed(limits) := own([object.union({"connector": "orders", "operations": "*"}, limits)], {})

at(limits, moment) := own(
	[object.union({"connector": "orders", "operations": "*"}, limits)],
	{"time": moment},
)

test_weekdays if {
	timed({"weekdays": ["mon", "wed"]}).allow
	denied(timed({"weekdays": ["mon", "thu"]}), "time_not_granted")
	denied(timed({"weekdays": []}), "time_not_granted")
	at({"weekdays": ["mon"]}, {"weekday": 0}).allow
	at({"weekdays": ["sun"]}, {"weekday": 6}).allow
	denied(at({"weekdays": ["mon"]}, {"weekday": 6}), "time_not_granted")
}

test_hours_begin_with_the_first_and_end_before_the_second if {
	timed({"hours": ["12:00", "12:01"]}).allow
	timed({"hours": ["00:00", "24:00"]}).allow
	denied(timed({"hours": ["09:00", "12:00"]}), "time_not_granted")
	denied(timed({"hours": ["12:01", "13:00"]}), "time_not_granted")
}

test_hours_of_nothing if denied(timed({"hours": ["12:00", "12:00"]}), "time_not_granted")

test_hours_over_midnight if {
	night := {"hours": ["22:00", "06:00"]}
	at(night, {"hour": 23, "minute": 59}).allow
	at(night, {"hour": 0, "minute": 0}).allow
	at(night, {"hour": 22, "minute": 0}).allow
	denied(at(night, {"hour": 6, "minute": 0}), "time_not_granted")
	denied(at(night, {"hour": 21, "minute": 59}), "time_not_granted")
}

test_an_hour_of_one_digit_is_told_apart if {
	at({"hours": ["09:05", "09:06"]}, {"hour": 9, "minute": 5}).allow
	denied(at({"hours": ["09:05", "09:06"]}, {"hour": 9, "minute": 50}), "time_not_granted")
}

test_until if {
	timed({"until": "2030-01-09T12:01Z"}).allow
	denied(timed({"until": "2030-01-09T12:00Z"}), "time_not_granted")
	denied(timed({"until": "2029-12-31T23:59Z"}), "time_not_granted")
	timed({"until": "2031-01-01T00:00Z"}).allow
}

test_all_limits_together if {
	limits := {"weekdays": ["wed"], "hours": ["09:00", "17:00"], "until": "2030-02-01T00:00Z"}
	timed(limits).allow
	denied(timed(object.union(limits, {"weekdays": ["thu"]})), "time_not_granted")
	denied(timed(object.union(limits, {"hours": ["13:00", "17:00"]})), "time_not_granted")
	denied(timed(object.union(limits, {"until": "2030-01-01T00:00Z"})), "time_not_granted")
}

test_what_is_not_written_as_agreed_never_holds if {
	every limits in [
		{"weekdays": "wed"},
		{"weekdays": ["Wednesday"]},
		{"weekdays": [2]},
		{"hours": ["9:00", "17:00"]},
		{"hours": [9, 17]},
		{"hours": ["09:00"]},
		{"hours": ["09:00", "17:00", "18:00"]},
		{"hours": "09:00-17:00"},
		{"hours": null},
		{"hours": false},
		{"hours": ["9:00 ", "17:30"]},
		{"hours": ["09.00", "17.30"]},
		{"hours": ["aa:aa", "09:00"]},
		{"hours": [["0", "9", ":", "0", "0"], "17:30"]},
		{"weekdays": false},
		{"until": false},
		{"until": "31.12.2030 18:00Z"},
		{"until": "2030-1-9T12:01:0Z"},
		{"until": "2030-O1-10T00:00Z"},
		{"until": "２０３０-01-10T00:00Z"},
		{"until": "2099-12-31"},
		{"until": "2099-12-31T00:00:00Z"},
		{"until": 2099},
		{"until": null},
	] {
		denied(timed(limits), "time_not_granted")
	}
}

test_a_limit_needs_the_time_of_the_call if {
	every limits in [{"weekdays": ["wed"]}, {"hours": ["00:00", "24:00"]}, {"until": "2099-12-31T00:00Z"}] {
		grants := granted([object.union({"connector": "orders", "operations": "*"}, limits)])
		answer := decide(object.remove(call, ["time"]), grants)
		denied(answer, "time_not_granted")
	}
}

test_a_role_may_be_limited_too if {
	grant := {"connector": "orders", "operations": "*", "weekdays": ["thu"]}
	denied(decided(granted_to_role("reader", [grant]), {}), "time_not_granted")
	decided(granted_to_role("reader", [grant]), {"time": {"weekday": 3}}).allow
}
