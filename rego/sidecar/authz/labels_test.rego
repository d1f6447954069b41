package sidecar.authz.labels_test

import data.sidecar.authz
import data.sidecar.authz.fixture_test as fixture

answer(change, clearances) := decision if {
	decision := authz.decision with input as object.union(fixture.call, change)
		with data.sidecar.grants as fixture.granted(["orders/get"])
		with data.sidecar.clearances as clearances
}

personal := {"operation": {"labels": {"data_class": "personal"}}}

test_an_unlabelled_operation_needs_no_clearance if answer({}, {}).allow

test_public_needs_no_clearance if answer({"connector": {"labels": {"data_class": "public"}}}, {}).allow

test_a_class_needs_a_clearance if {
	decision := answer(personal, {})
	decision.allow == false
	decision.reasons == {{
		"code": "label_not_cleared",
		"message": "Data of class \"personal\" needs a clearance that the caller does not have.",
	}}
}

test_a_clearance_of_the_principal if answer(personal, {"acme": {"principals": {"agent-7": ["personal"]}}}).allow

test_a_clearance_of_a_role if answer(personal, {"acme": {"roles": {"reader": ["personal"]}}}).allow

test_another_class_does_not_count if {
	not answer(personal, {"acme": {"principals": {"agent-7": ["public", "secret"]}}}).allow
}

test_another_tenants_clearance_does_not_count if {
	not answer(personal, {"globex": {"principals": {"agent-7": ["personal"]}}}).allow
}

test_every_class_must_be_cleared if {
	both := object.union(personal, {"connector": {"labels": {"data_class": "secret"}}})
	not answer(both, {"acme": {"principals": {"agent-7": ["personal"]}}}).allow
	answer(both, {"acme": {"principals": {"agent-7": ["personal", "secret"]}}}).allow
}
