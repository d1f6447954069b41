# METADATA
# title: The decision
# description: |
#   The one answer a sidecar asks for. It is always defined, and it denies unless a grant, or the customer's own
#   `data.sidecar.custom.allow`, covers the call and nothing speaks against it.
#
#   The customer's rules live in `package sidecar.custom` and are all optional:
#     allow        true stands in for a missing grant; it lifts no denial
#     deny         a set of {"code", "message"}; any member denies, whatever else allows
#     obligations  an object that the sidecar must fulfil when it allows
package sidecar.authz

import data.sidecar.authz.grants
import data.sidecar.authz.labels

# METADATA
# title: Answer of the policy for one call
# entrypoint: true
decision := {"allow": allow, "reasons": reasons, "obligations": obligations}

default allow := false

allow if {
	permitted
	count(denials) == 0
}

permitted if grants.granted

permitted if data.sidecar.custom.allow == true

# Without a permit the grants say what is missing; what they miss is no reason while something else permits.
reasons contains reason if some reason in denials

reasons contains reason if {
	not permitted
	some reason in grants.missing
}

denials contains reason if some reason in labels.denials

denials contains {
	"code": "plane_read_only",
	"message": "A plane is read through; a write goes to the connector itself.",
} if {
	input.plane != null
	input.effect != "read"
}

denials contains reason if {
	is_set(data.sidecar.custom.deny)
	some reason in data.sidecar.custom.deny
}

# A rule written as `deny if ...` is a boolean: it denies too, only without a reason of its own.
denials contains {
	"code": "custom_deny",
	"message": "A rule of this tenant denies the call.",
} if {
	not is_set(data.sidecar.custom.deny)
	data.sidecar.custom.deny != false
}

default obligations := {}

obligations := data.sidecar.custom.obligations
