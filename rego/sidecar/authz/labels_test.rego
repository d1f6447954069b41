package sidecar.authz_test

import data.sidecar.authz

cleared_to(change, clearances) := decision if {
	decision := authz.decision with input as object.union(call, change)
		with data.sidecar.grants as granted(["orders/get"])
		with data.sidecar.clearances as clearances
}

personal := {"operation": {"labels": {"data_class": "personal"}}}

test_an_unlabelled_operation_needs_no_clearance if cleared_to({}, {}).allow

test_public_needs_no_clearance if cleared_to({"connector": {"labels": {"data_class": "public"}}}, {}).allow

test_a_class_needs_a_clearance if {
	decision := cleared_to(personal, {})
	decision.allow == false
	decision.reasons == {{
		"code": "label_not_cleared",
		"message": "Data of class \"personal\" needs a clearance that the caller does not have.",
	}}
}

test_a_clearance_of_the_principal if cleared_to(personal, {"acme": {"principals": {"agent-7": ["personal"]}}}).allow

test_a_clearance_of_a_role if cleared_to(personal, {"acme": {"roles": {"reader": ["personal"]}}}).allow

test_another_class_does_not_count if {
	not cleared_to(personal, {"acme": {"principals": {"agent-7": ["public", "secret"]}}}).allow
}

test_another_tenants_clearance_does_not_count if {
	not cleared_to(personal, {"globex": {"principals": {"agent-7": ["personal"]}}}).allow
	not cleared_to(personal, {"globex": {"roles": {"reader": ["personal"]}}}).allow
}

test_every_class_must_be_cleared if {
	both := object.union(personal, {"connector": {"labels": {"data_class": "secret"}}})
	not cleared_to(both, {"acme": {"principals": {"agent-7": ["personal"]}}}).allow
	cleared_to(both, {"acme": {"principals": {"agent-7": ["personal", "secret"]}}}).allow
}
