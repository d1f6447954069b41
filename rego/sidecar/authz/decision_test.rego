package sidecar.authz_test

import data.sidecar.authz

read := granted(["orders/get"])

write := object.union(call, {"effect": "write"})

test_nothing_is_granted_by_default if {
	authz.decision == {
		"allow": false,
		"reasons": {{"code": "no_grant", "message": "No grant names this connector and operation."}},
		"obligations": {},
	} with input as call
}

test_the_decision_is_defined_for_an_empty_input if {
	authz.decision.allow == false with input as {}
}

test_a_grant_allows_without_reasons if {
	authz.decision == {"allow": true, "reasons": set(), "obligations": {}} with input as call
		with data.sidecar.grants as read
}

test_a_plane_is_read_only_even_with_a_write_grant if {
	decision := authz.decision with input as object.union(write, {"plane": "books"})
		with data.sidecar.grants as granted([{"connector": "orders", "operations": "*", "effects": ["write"]}])
	decision.allow == false
	codes(decision) == {"plane_read_only"}
}

test_custom_allow_stands_in_for_a_grant if {
	authz.decision.allow == true with input as call with data.sidecar.custom.allow as true
}

test_custom_allow_counts_only_when_it_is_true if {
	every value in ["true", 1, {}, [], false, null] {
		authz.decision.allow == false with input as call with data.sidecar.custom.allow as value
	}
}

test_custom_allow_lifts_no_denial if {
	classified := object.union(call, {"operation": {"labels": {"data_class": "personal"}}})
	decision := authz.decision with input as classified with data.sidecar.custom.allow as true
	decision.allow == false
	codes(decision) == {"label_not_cleared"}
}

test_custom_deny_wins_over_grant_and_custom_allow if {
	decision := authz.decision with input as call
		with data.sidecar.grants as read
		with data.sidecar.custom.allow as true
		with data.sidecar.custom.deny as {{"code": "frozen", "message": "Quarter end."}}
	decision.allow == false
	decision.reasons == {{"code": "frozen", "message": "Quarter end."}}
}

test_custom_deny_as_a_boolean_denies if {
	decision := authz.decision with input as call
		with data.sidecar.grants as read
		with data.sidecar.custom.deny as true
	decision.allow == false
	codes(decision) == {"custom_deny"}
}

test_custom_deny_of_any_other_shape_denies if {
	every value in ["no", 0, null, {}, [], {"code": "x"}, [{"code": "x", "message": "y"}]] {
		authz.decision.allow == false with input as call
			with data.sidecar.grants as read
			with data.sidecar.custom.deny as value
	}
}

test_custom_deny_of_another_shape_has_one_reason if {
	decision := authz.decision with input as call
		with data.sidecar.grants as read
		with data.sidecar.custom.deny as [{"code": "frozen", "message": "Quarter end."}]
	denied(decision, "custom_deny")
}

test_custom_deny_that_does_not_deny if {
	every value in [false, set()] {
		authz.decision.allow == true with input as call
			with data.sidecar.grants as read
			with data.sidecar.custom.deny as value
	}
}

test_custom_obligations_are_handed_on if {
	decision := authz.decision with input as call
		with data.sidecar.grants as read
		with data.sidecar.custom.obligations as {"max_bytes": 1000}
	decision == {"allow": true, "reasons": set(), "obligations": {"max_bytes": 1000}}
}

# The sidecar denies what obliges it to something that it does not know.
test_custom_obligations_of_any_other_shape_are_handed_on_too if {
	every value in [false, null, true, "none", []] {
		decision := authz.decision with input as call
			with data.sidecar.grants as read
			with data.sidecar.custom.obligations as value
		decision.obligations == value
	}
}

test_a_denial_obliges_to_nothing if {
	decision := authz.decision with input as write with data.sidecar.custom.obligations as {"max_bytes": 1000}
	decision.allow == false
	decision.obligations == {}
}

test_what_is_missing_is_told_beside_what_denies if {
	decision := authz.decision with input as call with data.sidecar.custom.deny as true
	codes(decision) == {"no_grant", "custom_deny"}
}
