# A total input, as the sidecar sends it, for the tests beside this file.
package sidecar.authz_test

call := {
	"version": 1,
	"tenant": "acme",
	"principal": {"id": "agent-7", "kind": "agent", "roles": ["reader"], "labels": {}},
	"session": null,
	"surface": "access",
	"action": "execute",
	"effect": "read",
	"plane": null,
	"connector": {"id": "orders", "kind": "http", "labels": {}},
	"operation": {"id": "get", "labels": {}},
	"parameters": {"id": "o-1"},
	"request": null,
	"destination": null,
	"usage": {"over": []},
	"switches": [],
	"findings": [],
	"time": {"minute": 0, "hour": 12, "weekday": 2, "date": "2030-01-09"},
}

granted(grants) := {"acme": {"principals": {"agent-7": grants}}}

granted_to_role(role, grants) := {"acme": {"roles": {role: grants}}}

codes(decision) := {reason.code | some reason in decision.reasons}

denied(answer, code) if {
	answer.allow == false
	codes(answer) == {code}
}
