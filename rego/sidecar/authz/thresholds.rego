# The sidecar says which thresholds of use are crossed (`input.usage.over`); what follows is data, in
# `data.sidecar.thresholds[tenant][name]`: an object whose `deny` lists the effects, "read" and "write", that are
# denied meanwhile. A threshold that is not there denies nothing; one that is there and not written so denies both.
package sidecar.authz

# METADATA
# title: Too much used
# custom:
#   reason_codes: [threshold_crossed]
denials contains {
	"code": "threshold_crossed",
	"message": sprintf("The threshold %q is crossed.", [name]),
} if {
	some name in input.usage.over
	denied_over(data.sidecar.thresholds[input.tenant][name])
}

denied_over(threshold) if input.effect in threshold.deny

denied_over(threshold) if not of_effects(threshold.deny)

denied_over(threshold) if not threshold.deny

of_effects(list) if {
	is_array(list)
	every effect in list {
		effect in {"read", "write"}
	}
}
