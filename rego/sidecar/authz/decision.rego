# METADATA
# title: The decision
# description: |
#   The one answer a sidecar asks for. It is always defined, and it denies unless a grant, a break-glass entry or the
#   customer's own `data.sidecar.custom.allow` covers the call and nothing speaks against it.
#
#   The files of this package add to a few rules by topic: `granted` and `glass_broken` (what permits), `denials`
#   (what speaks against a call, whoever permits it), `missing` and `lapsed` (what to say when nothing permits).
#   Each rule with a reason names its code in `custom.reason_codes`.
#
#   The customer's rules live in `package sidecar.custom` and are all optional:
#     allow        true stands in for a missing grant; it lifts no denial
#     deny         a set of {"code", "message"}; any member denies, whatever else allows
#     obligations  an object that the sidecar must fulfil when it allows
package sidecar.authz

# METADATA
# title: Answer of the policy for one call
# description: |
#   What most calls get is first, and as a constant: an object that holds a variable is built anew for each call,
#   which takes a tenth of the whole evaluation. What is missing is no reason while something permits.
# entrypoint: true
decision := {"allow": true, "reasons": set(), "obligations": {}} if {
	granted
	denials == set()
	obligations == {}
} else := {"allow": true, "reasons": set(), "obligations": obligations} if {
	granted
	denials == set()
} else := {"allow": false, "reasons": denials, "obligations": {}} if {
	granted
} else := {"allow": true, "reasons": glass_broken, "obligations": obligations} if {
	glass_broken != set()
	denials == set()
} else := {"allow": false, "reasons": denials, "obligations": {}} if {
	glass_broken != set()
} else := {"allow": false, "reasons": ((denials | missing) | lapsed), "obligations": {}}

# METADATA
# title: What permits a call
# scope: document
granted if data.sidecar.custom.allow == true

# METADATA
# title: A plane is read through
# custom:
#   reason_codes: [plane_read_only]
denials contains {
	"code": "plane_read_only",
	"message": "A plane is read through; a write goes to the connector itself.",
} if {
	input.effect != "read"
	input.plane != null
}

# METADATA
# title: Denials of the customer
# description: Their codes are the customer's own.
denials contains reason if {
	is_set(data.sidecar.custom.deny)
	some reason in data.sidecar.custom.deny
}

# METADATA
# title: A denial of the customer without a reason
# description: A rule written as `deny if ...` is a boolean. It denies too, and so does any value that is no set.
# custom:
#   reason_codes: [custom_deny]
denials contains {
	"code": "custom_deny",
	"message": "A rule of this tenant denies the call.",
} if {
	data.sidecar.custom.deny != false
	not is_set(data.sidecar.custom.deny)
}

default obligations := {}

obligations := data.sidecar.custom.obligations
