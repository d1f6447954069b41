# The sidecar says which thresholds of use are crossed (`input.usage.over`); what follows is data, in
# `data.sidecar.thresholds[tenant][name]`: an object whose `deny` lists the effects, "read" and "write", that are
# denied meanwhile. A threshold that is not there denies nothing.
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
	input.effect in data.sidecar.thresholds[input.tenant][name].deny
}
