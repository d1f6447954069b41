package sidecar.authz_test

import data.sidecar.authz

emergency := {
	"principals": ["agent-7"],
	"connector": "orders",
	"operations": "*",
	"effects": ["read", "write"],
	"until": "2030-01-09T14:00Z",
	"why": "incident 7",
}

broken(entry, change) := answer if {
	answer := authz.decision with input as object.union(call, change)
		with data.sidecar.break_glass as {"acme": [entry]}
}

but(change) := object.union(emergency, change)

test_break_glass_allows_and_says_so if {
	broken(emergency, {"effect": "write"}) == {
		"allow": true,
		"reasons": {{"code": "break_glass", "message": "Allowed by break-glass until 2030-01-09T14:00Z: incident 7"}},
		"obligations": {},
	}
}

test_break_glass_for_a_role if {
	entry := object.union(object.remove(emergency, ["principals"]), {"roles": ["reader"]})
	broken(entry, {}).allow
	denied(broken(entry, {"principal": {"roles": ["writer"]}}), "no_grant")
}

test_break_glass_is_for_whom_it_names if {
	denied(broken(but({"principals": ["agent-8"]}), {}), "no_grant")
	denied(broken(object.remove(emergency, ["principals"]), {}), "no_grant")
}

test_a_principal_is_no_role if {
	entry := object.union(object.remove(emergency, ["principals"]), {"roles": ["agent-7"]})
	denied(broken(entry, {}), "no_grant")
	denied(broken(but({"principals": ["reader"]}), {}), "no_grant")
}

test_break_glass_ends if {
	answer := broken(emergency, {"time": {"hour": 14}})
	answer.allow == false
	codes(answer) == {"no_grant", "break_glass_expired"}
}

test_an_end_is_told_only_where_it_is_what_is_missing if {
	denied(broken(but({"effects": ["read"], "until": "2030-01-09T11:00Z"}), {"effect": "write"}), "no_grant")
}

test_break_glass_without_an_end_is_none if {
	denied(broken(object.remove(emergency, ["until"]), {}), "no_grant")
}

test_an_end_that_is_not_written_as_agreed_has_passed if {
	every until in ["2099-01-01", "31.12.2099 18:00Z", "never", 1, null, false] {
		broken(but({"until": until}), {}).allow == false
	}
}

test_break_glass_is_limited_like_a_grant if {
	denied(broken(but({"connector": "crm"}), {}), "no_grant")
	denied(broken(but({"operations": ["put"]}), {}), "no_grant")
	denied(broken(but({"effects": ["read"]}), {"effect": "write"}), "no_grant")
	denied(broken(but({"planes": ["books"]}), {}), "no_grant")
	denied(broken(but({"weekdays": ["thu"]}), {}), "no_grant")
	broken(but({"weekdays": ["wed"]}), {}).allow
}

test_break_glass_with_an_unknown_key_is_none if {
	denied(broken(but({"hour": ["00:00", "24:00"]}), {}), "no_grant")
}

test_break_glass_needs_no_reason_but_misses_it if {
	answer := broken(object.remove(emergency, ["why"]), {})
	some reason in answer.reasons
	endswith(reason.message, ": no reason is written")
}

test_break_glass_is_not_told_where_a_grant_allows if {
	answer := authz.decision with input as call
		with data.sidecar.grants as granted(["orders/get"])
		with data.sidecar.break_glass as {"acme": [emergency]}
	answer == {"allow": true, "reasons": set(), "obligations": {}}
}

test_break_glass_lifts_no_denial if {
	answer := broken(emergency, {"operation": {"labels": {"data_class": "personal"}}})
	denied(answer, "label_not_cleared")
}

test_break_glass_keeps_obligations if {
	answer := authz.decision with input as call
		with data.sidecar.break_glass as {"acme": [emergency]}
		with data.sidecar.custom.obligations as {"record_bodies": true}
	answer.allow
	answer.obligations == {"record_bodies": true}
}

test_another_tenants_break_glass_does_not_count if {
	answer := authz.decision with input as call with data.sidecar.break_glass as {"globex": [emergency]}
	denied(answer, "no_grant")
}
