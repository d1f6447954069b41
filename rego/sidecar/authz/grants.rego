# METADATA
# title: Grants
# description: |
#   What security grants is data, by tenant, in `data.sidecar.grants[tenant].principals[id][]` and
#   `data.sidecar.grants[tenant].roles[role][]`: two name spaces, so that a principal cannot be called like a role.
#
#   A grant is "connector/operation" or "connector/*", which let reads through, or an object:
#     connector   the connector's id
#     operations  a list of operation ids, or "*"
#     effects     a list of "read" and "write"; only reads when it is left out
#     planes      a list of plane ids; when it is there, only calls through these planes are covered
package sidecar.authz.grants

granted if {
	some grant in data.sidecar.grants[input.tenant].principals[input.principal.id]
	covers(grant)
}

granted if {
	some role in input.principal.roles
	some grant in data.sidecar.grants[input.tenant].roles[role]
	covers(grant)
}

covers(grant) if {
	grant.connector == input.connector.id
	operation_named(grant.operations)
	effect_granted(grant)
	plane_granted(grant)
}

covers(grant) if {
	grant in short_forms
	input.effect == "read"
}

short_forms := {concat("/", [input.connector.id, input.operation.id]), concat("/", [input.connector.id, "*"])}

operation_named("*")

operation_named(operations) if input.operation.id in operations

effect_granted(grant) if input.effect in grant.effects

effect_granted(grant) if {
	not grant.effects
	input.effect == "read"
}

plane_granted(grant) if not grant.planes

plane_granted(grant) if input.plane in grant.planes

# What to say when nothing is granted; asked for only then.
missing contains {"code": "no_grant", "message": "No grant names this connector and operation."} if not named

missing contains {
	"code": "effect_not_granted",
	"message": "The operation is granted, but not with this effect.",
} if {
	named
	not effective
}

missing contains {
	"code": "plane_not_granted",
	"message": "The operation is granted, but not through this plane.",
} if {
	effective
}

named if {
	some grant in held
	names(grant)
}

effective if {
	some grant in held
	names(grant)
	effect_granted(grant)
}

names(grant) if {
	grant.connector == input.connector.id
	operation_named(grant.operations)
}

names(grant) if grant in short_forms

held contains grant if some grant in data.sidecar.grants[input.tenant].principals[input.principal.id]

held contains grant if {
	some role in input.principal.roles
	some grant in data.sidecar.grants[input.tenant].roles[role]
}
