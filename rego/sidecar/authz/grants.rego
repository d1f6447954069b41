# What security grants is data, by tenant, in `data.sidecar.grants[tenant].principals[id][]` and
# `data.sidecar.grants[tenant].roles[role][]`: two name spaces, so that a principal cannot be called like a role.
#
# A grant is "connector/operation" or "connector/*", which let reads through, or an object:
#   connector   the connector's id
#   operations  a list of operation ids, or "*"
#   effects     a list of "read" and "write"; only reads when it is left out
#   planes      a list of plane ids; when it is there, only calls through these planes are covered
#   weekdays, hours, until   when it holds (times.rego)
#
# An object with any other key covers nothing: a misspelt limit would otherwise be none. For the same reason a limit
# that is there and false is one that nothing meets.
package sidecar.authz

# METADATA
# title: The caller's own grants, and those of its roles
# description: The lists are spelt out in each rule because a rule in between would cost every call a microsecond.
# scope: rule
granted if {
	input.effect == "read"
	operation := concat("/", [input.connector.id, input.operation.id])
	operation in data.sidecar.grants[input.tenant].principals[input.principal.id]
}

granted if {
	input.effect == "read"
	every_operation in data.sidecar.grants[input.tenant].principals[input.principal.id]
}

granted if {
	some grant in data.sidecar.grants[input.tenant].principals[input.principal.id]
	grant.connector == input.connector.id
	covers(grant)
}

granted if {
	input.effect == "read"
	some role in input.principal.roles
	this_operation in data.sidecar.grants[input.tenant].roles[role]
}

granted if {
	input.effect == "read"
	some role in input.principal.roles
	every_operation in data.sidecar.grants[input.tenant].roles[role]
}

granted if {
	some role in input.principal.roles
	some grant in data.sidecar.grants[input.tenant].roles[role]
	grant.connector == input.connector.id
	covers(grant)
}

# The two short forms that name this call.
this_operation := concat("/", [input.connector.id, input.operation.id])

every_operation := concat("/", [input.connector.id, "*"])

# A grant in its object form whose connector is the call's.
covers(grant) if {
	operation_named(grant.operations)
	effect_granted(grant)
	within_limits(grant)
}

# Most grants have none, and cost a fifth less for not being asked for each.
within_limits(grant) if object.keys(grant) - {"connector", "operations", "effects"} == set()

within_limits(grant) if {
	object.keys(grant) - grant_keys == set()
	plane_granted(grant)
	holds_now(grant)
}

operation_named("*")

operation_named(operations) if input.operation.id in operations

effect_granted(grant) if input.effect in grant.effects

effect_granted(grant) if {
	not "effects" in object.keys(grant)
	input.effect == "read"
}

plane_granted(grant) if not "planes" in object.keys(grant)

plane_granted(grant) if input.plane in grant.planes

grant_keys := {"connector", "operations", "effects", "planes", "weekdays", "hours", "until"}

# METADATA
# title: What is missing
# description: Asked for only when nothing permits. Of all grants that name the call, the nearest says what it lacks.
# scope: document
# custom:
#   reason_codes: [no_grant, effect_not_granted, plane_not_granted, time_not_granted, grant_not_understood]
default missing := {{
	"code": "effect_not_granted",
	"message": "The operation is granted, but not with this effect.",
}}

missing := {{
	"code": "no_grant",
	"message": "No grant names this connector and operation.",
}} if {
	lacks == set()
} else := {{
	"code": "grant_not_understood",
	"message": "The operation is granted, but the grant has a key that is not known.",
}} if {
	"sense" in lacks
} else := {{
	"code": "time_not_granted",
	"message": "The operation is granted, but not at this time.",
}} if {
	"time" in lacks
} else := {{
	"code": "plane_not_granted",
	"message": "The operation is granted, but not through this plane.",
}} if {
	"plane" in lacks
}

lacks contains lack(grant) if {
	some grant in data.sidecar.grants[input.tenant].principals[input.principal.id]
	grant.connector == input.connector.id
	operation_named(grant.operations)
}

lacks contains lack(grant) if {
	some role in input.principal.roles
	some grant in data.sidecar.grants[input.tenant].roles[role]
	grant.connector == input.connector.id
	operation_named(grant.operations)
}

# A short form lacks nothing but an effect.
lacks contains "effect" if {
	input.effect != "read"
	some form in {this_operation, every_operation}
	form in data.sidecar.grants[input.tenant].principals[input.principal.id]
}

lacks contains "effect" if {
	input.effect != "read"
	some form in {this_operation, every_operation}
	some role in input.principal.roles
	form in data.sidecar.grants[input.tenant].roles[role]
}

lack(grant) := "effect" if {
	not effect_granted(grant)
} else := "plane" if {
	not plane_granted(grant)
} else := "time" if {
	not holds_now(grant)
} else := "sense"
