package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// reads collects what an answer may depend on: the references to input and to base documents that are written down in
// the query or in a rule it can come to, each cut before its first part that is not a constant; and the builtins that
// `with` puts in another function's place, which the compiler does not count among those required. A value of the
// input enters a policy only through such a reference, whatever carries it on from there, so nothing is left out.
//
// OPA's own dependencies.Base is not used because it does leave some out: of a rule that binds `x := input.a`, reads
// input.a.b as well, and has x in a composite key or as the value of a `with`, it reports input.a.b alone.
func reads(compiler *ast.Compiler, query ast.Body) (paths []ast.Ref, mocks []string) {
	seen := map[*ast.Rule]bool{}
	pending := []any{query}
	reach := func(path ast.Ref) {
		rules := rulesAt(compiler, path)
		if len(rules) == 0 {
			paths = append(paths, path)
		}
		for _, rule := range rules {
			if !seen[rule] {
				seen[rule] = true
				pending = append(pending, rule)
			}
		}
	}
	visitor := ast.NewGenericVisitor(func(node any) bool {
		switch x := node.(type) {
		case *ast.With:
			if name := x.Value.String(); ast.BuiltinMap[name] != nil {
				mocks = append(mocks, name)
			}
		case ast.Var: // a bare input is all of it
			if ast.RootDocumentNames.Contains(ast.NewTerm(x)) {
				reach(ast.Ref{ast.NewTerm(x)})
			}
		case ast.Ref:
			if !ast.RootDocumentNames.Contains(x[0]) {
				return false
			}
			reach(x.ConstantPrefix())
			for _, part := range x[1:] { // which may be, or hold, references of their own
				pending = append(pending, part)
			}
			return true
		}
		return false
	})
	for len(pending) > 0 {
		next := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		visitor.Walk(next)
	}
	slices.SortFunc(paths, ast.RefCompare)
	return slices.CompactFunc(paths, ast.RefEqual), mocks
}

// rulesAt are the rules that a reference with this constant prefix may come to; some of them twice.
func rulesAt(compiler *ast.Compiler, path ast.Ref) []*ast.Rule {
	if !path[0].Equal(ast.DefaultRootDocument) {
		return nil
	}
	rules := compiler.GetRulesDynamicWithOpts(path, ast.RulesOptions{IncludeHiddenModules: true})
	return append(rules, compiler.GetRules(path)...)
}
