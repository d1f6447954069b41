# Break-glass: a grant for an emergency, which ends by itself. It is data, in `data.sidecar.break_glass[tenant][]`: a
# grant in its object form that must have `until`, says for whom in `principals` or `roles`, and in `why` what for.
# It lifts no denial, and each use is told in the decision's reasons, so that it is in the evidence.
package sidecar.authz

# METADATA
# title: Break-glass that covers a call which nothing else grants
# custom:
#   reason_codes: [break_glass]
glass_broken contains {
	"code": "break_glass",
	"message": sprintf("Allowed by break-glass until %s: %s", [entry.until, why(entry)]),
} if {
	some entry in emergencies
	covers(object.remove(entry, ["principals", "roles", "why"]))
}

# METADATA
# title: Break-glass that would have covered the call
# custom:
#   reason_codes: [break_glass_expired]
lapsed contains {
	"code": "break_glass_expired",
	"message": sprintf("Break-glass for this call ended at %s.", [entry.until]),
} if {
	some entry in emergencies
	operation_named(entry.operations)
	lack(entry) == "time"
	not not_over(entry)
}

emergencies contains entry if {
	some entry in data.sidecar.break_glass[input.tenant]
	entry.connector == input.connector.id
	entry.until
	concerns(entry)
}

concerns(entry) if input.principal.id in entry.principals

concerns(entry) if {
	some role in input.principal.roles
	role in entry.roles
}

why(entry) := entry.why

why(entry) := "no reason is written" if not entry.why
