package sidecar.authz_test

import data.sidecar.authz

crossed(names, effect, thresholds) := answer if {
	grants := granted([{"connector": "orders", "operations": "*", "effects": ["read", "write"]}])
	answer := authz.decision with input as object.union(call, {"usage": {"over": names}, "effect": effect})
		with data.sidecar.grants as grants
		with data.sidecar.thresholds as thresholds
}

thresholds := {"acme": {"spend-80": {"deny": ["write"]}, "spend-100": {"deny": ["read", "write"]}}}

test_nothing_crossed if crossed([], "write", thresholds).allow

test_a_threshold_denies_the_effects_it_names if {
	crossed(["spend-80"], "read", thresholds).allow
	denied(crossed(["spend-80"], "write", thresholds), "threshold_crossed")
	denied(crossed(["spend-100"], "read", thresholds), "threshold_crossed")
}

test_each_crossed_threshold_is_named if {
	answer := crossed(["spend-80", "spend-100"], "write", thresholds)
	{reason.message | some reason in answer.reasons} == {
		"The threshold \"spend-80\" is crossed.",
		"The threshold \"spend-100\" is crossed.",
	}
}

test_a_threshold_without_a_rule_denies_nothing if crossed(["calls-50"], "write", thresholds).allow

test_a_threshold_that_is_not_written_as_agreed_denies_both_effects if {
	every rule in [
		{"deny": "write"},
		{"deny": ["wirte"]},
		{"deny": {"write": true}},
		{"deny": false},
		{"deny": null},
		{"denies": ["write"]},
		["write"],
		"write",
		null,
		false,
	] {
		denied(crossed(["spend-80"], "write", {"acme": {"spend-80": rule}}), "threshold_crossed")
		denied(crossed(["spend-80"], "read", {"acme": {"spend-80": rule}}), "threshold_crossed")
	}
	crossed(["spend-80"], "write", {"acme": {"spend-80": {"deny": []}}}).allow
}

test_another_tenants_thresholds_do_not_count if {
	crossed(["spend-100"], "write", {"globex": thresholds.acme}).allow
}
