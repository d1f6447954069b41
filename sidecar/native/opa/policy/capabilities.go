// Package policy compiles Rego once and answers one query about many inputs. It knows nothing of C or Python.
package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// waysOut are the builtins a policy must not have: they reach the network, print the environment, or (the two
// schema builtins) follow a "file://" reference of a schema, which may come from the input, into the file system.
var waysOut = map[string]bool{
	"http.send":          true,
	"net.lookup_ip_addr": true,
	"opa.runtime":        true,
	"json.match_schema":  true,
	"json.verify_schema": true,
}

// prompt are the builtins whose time is bounded by a small factor of their arguments, or that watch for
// cancellation themselves. A policy that uses nothing else answers close to its deadline on the caller's own
// thread; any other runs on a goroutine that the caller can abandon (see Evaluate).
var prompt = map[string]bool{}

func init() {
	for _, name := range []string{
		"abs", "all", "and", "any", "array.concat", "array.flatten", "array.reverse", "array.slice", "assign",
		"base64.decode", "base64.encode", "base64.is_valid", "base64url.decode", "base64url.encode",
		"base64url.encode_no_pad", "bits.and", "bits.negate", "bits.or", "bits.xor", "ceil", "concat", "contains",
		"count", "crypto.hmac.equal", "crypto.hmac.md5", "crypto.hmac.sha1", "crypto.hmac.sha256",
		"crypto.hmac.sha512", "crypto.md5", "crypto.sha1", "crypto.sha256", "div", "endswith", "eq", "equal", "floor",
		"format_int", "gt", "gte", "hex.decode", "hex.encode", "indexof", "internal.member_2", "internal.member_3",
		"internal.template_string", "intersection", "is_array", "is_boolean", "is_null", "is_number", "is_object",
		"is_set", "is_string", "lower", "lt", "lte", "max", "min", "minus", "mul", "neq", "net.cidr_contains",
		"net.cidr_expand", "net.cidr_intersects", "net.cidr_is_valid", "net.cidr_overlap", "numbers.range",
		"numbers.range_step", "object.filter", "object.get", "object.keys", "object.remove", "object.subset",
		"object.union", "or", "plus", "print", "rem", "replace", "round", "semver.compare", "semver.is_valid",
		"set_diff", "sort", "split", "sprintf", "startswith", "strings.any_prefix_match",
		"strings.any_suffix_match", "strings.count", "strings.replace_n", "strings.reverse", "strings.split_n",
		"substring", "sum", "time.add_date", "time.clock", "time.date", "time.diff", "time.format", "time.now_ns",
		"time.parse_duration_ns", "time.parse_ns", "time.parse_rfc3339_ns", "time.weekday", "to_number", "trace",
		"trim", "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "type_name", "union",
		"units.parse", "units.parse_bytes", "upper", "uuid.parse",
	} {
		prompt[name] = true
	}
}

// capabilities is what a policy may use. Conformance runs get all of OPA; nothing else does.
func capabilities(conformance bool) *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	if conformance {
		return all
	}
	all.Builtins = slices.DeleteFunc(all.Builtins, func(b *ast.Builtin) bool { return waysOut[b.Name] })
	all.AllowNet = []string{} // present and empty: no host at all
	return all
}
