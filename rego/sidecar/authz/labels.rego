# A connector or operation labelled `data_class` holds data of that class. Any class but "public" needs a clearance
# in `data.sidecar.clearances[tenant].principals[id][]` or `.roles[role][]`.
package sidecar.authz

# METADATA
# title: Data of a class that the caller is not cleared for
# scope: rule
# custom:
#   reason_codes: [label_not_cleared]
denials contains uncleared(class) if {
	class := input.connector.labels.data_class
	not cleared(class)
}

denials contains uncleared(class) if {
	class := input.operation.labels.data_class
	not cleared(class)
}

uncleared(class) := {
	"code": "label_not_cleared",
	"message": sprintf("Data of class %q needs a clearance that the caller does not have.", [class]),
}

cleared("public")

cleared(class) if class in data.sidecar.clearances[input.tenant].principals[input.principal.id]

cleared(class) if {
	some role in input.principal.roles
	class in data.sidecar.clearances[input.tenant].roles[role]
}
