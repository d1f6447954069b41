package sidecar.authz_test

import data.sidecar.authz

decide(asked, grants) := answer if {
	answer := authz.decision with input as asked with data.sidecar.grants as grants
}

decided(grants, change) := decide(object.union(call, change), grants)

own(grants, change) := decided(granted(grants), change)

object_grant := {"connector": "orders", "operations": ["get", "put"], "effects": ["read", "write"]}

test_short_form if own(["orders/get"], {}).allow

test_short_form_for_every_operation if own(["orders/*"], {}).allow

test_short_form_of_another_operation if denied(own(["orders/list"], {}), "no_grant")

test_short_form_is_no_prefix if {
	denied(own(["orders/ge", "order/*", "*/get", "*", "orders"], {}), "no_grant")
}

test_short_form_reads_only if {
	denied(own(["orders/get", "orders/*"], {"effect": "write"}), "effect_not_granted")
}

test_object_form if {
	own([object_grant], {}).allow
	own([object_grant], {"effect": "write", "operation": {"id": "put"}}).allow
}

test_object_form_for_every_operation if own([{"connector": "orders", "operations": "*"}], {}).allow

test_object_form_of_another_connector if {
	denied(own([{"connector": "crm", "operations": "*"}], {}), "no_grant")
}

test_object_form_of_another_operation if denied(own([object_grant], {"operation": {"id": "drop"}}), "no_grant")

test_object_form_without_operations if denied(own([{"connector": "orders"}], {}), "no_grant")

test_object_form_reads_only_unless_it_says_write if {
	denied(own([{"connector": "orders", "operations": "*"}], {"effect": "write"}), "effect_not_granted")
}

test_write_alone_is_no_read if {
	denied(own([{"connector": "orders", "operations": "*", "effects": ["write"]}], {}), "effect_not_granted")
}

test_a_limit_that_is_false_is_not_left_out if {
	denied(own([{"connector": "orders", "operations": "*", "planes": false}], {}), "plane_not_granted")
	denied(own([{"connector": "orders", "operations": "*", "effects": false}], {}), "effect_not_granted")
}

test_planes if {
	grants := [{"connector": "orders", "operations": "*", "planes": ["books"]}]
	own(grants, {"plane": "books"}).allow
	denied(own(grants, {"plane": "people"}), "plane_not_granted")
	denied(own(grants, {}), "plane_not_granted")
}

test_one_grant_is_not_completed_by_another if {
	grants := [
		{"connector": "orders", "operations": ["get"], "effects": ["read"]},
		{"connector": "orders", "operations": ["put"], "effects": ["write"]},
	]
	denied(own(grants, {"effect": "write"}), "effect_not_granted")
}

test_role if decided(granted_to_role("reader", ["orders/get"]), {}).allow

test_role_for_every_operation if decided(granted_to_role("reader", ["orders/*"]), {}).allow

test_role_not_held if denied(decided(granted_to_role("writer", ["orders/get"]), {}), "no_grant")

test_role_short_forms_read_only if {
	every form in ["orders/get", "orders/*"] {
		denied(decided(granted_to_role("reader", [form]), {"effect": "write"}), "effect_not_granted")
	}
}

test_a_principal_called_like_a_role_gets_nothing_from_it if {
	caller := {"principal": {"id": "reader", "roles": []}}
	denied(decided(granted_to_role("reader", ["orders/get"]), caller), "no_grant")
}

test_a_role_with_an_object_grant if {
	grants := granted_to_role("reader", [object_grant])
	decided(grants, {"effect": "write"}).allow
	denied(decided(grants, {"effect": "write", "operation": {"id": "list"}}), "no_grant")
}

test_the_nearest_grant_says_what_is_missing if {
	near := [
		{"connector": "orders", "operations": "*", "effects": ["write"]},
		{"connector": "orders", "operations": "*", "planes": ["books"]},
		{"connector": "orders", "operations": "*", "hours": ["00:00", "01:00"]},
		{"connector": "crm", "operations": "*"},
	]
	denied(own(array.slice(near, 0, 1), {}), "effect_not_granted")
	denied(own(array.slice(near, 0, 2), {}), "plane_not_granted")
	denied(own(near, {}), "time_not_granted")
	denied(own(array.slice(near, 3, 4), {}), "no_grant")
}

test_a_grant_with_an_unknown_key_covers_nothing if {
	every limit in [
		{"hour": ["00:00", "24:00"]},
		{"plane": ["books"]},
		{"roles": ["reader"]},
		{"expires": "2099-12-31T00:00Z"},
	] {
		denied(own([object.union(object_grant, limit)], {}), "grant_not_understood")
	}
}

test_another_tenants_grants_do_not_count if {
	every grant in ["orders/get", "orders/*", object_grant, object.remove(object_grant, ["effects"])] {
		denied(own([grant], {"tenant": "globex"}), "no_grant")
		denied(own([grant], {"tenant": "globex", "effect": "write"}), "no_grant")
		denied(decided(granted_to_role("reader", [grant]), {"tenant": "globex"}), "no_grant")
		denied(decided(granted_to_role("reader", [grant]), {"tenant": "globex", "effect": "write"}), "no_grant")
	}
}

test_a_limit_that_is_false_is_not_no_limit if {
	every limit in ["planes", "weekdays", "hours", "until", "effects"] {
		own([object.union({"connector": "orders", "operations": "*"}, {limit: false})], {}).allow == false
	}
}

test_a_call_without_connector_or_operation_is_not_covered if {
	grants := ["orders/get", {"connector": null, "operations": "*"}]
	denied(own(grants, {"connector": null}), "no_grant")
	denied(own(["orders/get"], {"operation": null}), "no_grant")
}
