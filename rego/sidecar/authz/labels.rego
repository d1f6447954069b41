# METADATA
# title: Labels
# description: |
#   A connector or operation labelled `data_class` holds data of that class. Any class but "public" needs a
#   clearance in `data.sidecar.clearances[tenant].principals[id][]` or `.roles[role][]`.
package sidecar.authz.labels

denials contains {
	"code": "label_not_cleared",
	"message": sprintf("Data of class %q needs a clearance that the caller does not have.", [class]),
} if {
	some class in classes
	not cleared(class)
}

classes contains input.connector.labels.data_class

classes contains input.operation.labels.data_class

cleared("public")

cleared(class) if class in data.sidecar.clearances[input.tenant].principals[input.principal.id]

cleared(class) if {
	some role in input.principal.roles
	class in data.sidecar.clearances[input.tenant].roles[role]
}
