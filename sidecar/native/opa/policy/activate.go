package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
)

const (
	testSuffix    = "_test.rego"
	maxAskedBytes = 64 << 10
	askedAtOnce   = 50 // rules
	maxAskedDepth = 100
)

// Tested counts the tests that a bundle brought and that passed.
type Tested struct {
	Passed  int `json:"passed"`
	Skipped int `json:"skipped"`
}

// Load compiles an opened bundle with the rules beside it, checks every use of the input against the schema, and runs
// the bundle's own tests. What does not pass all of it is no policy.
func (o *Opened) Load() (*Policy, *Facts, *Tested, []Fault) {
	modules, tests, faults := o.modules()
	if len(faults) > 0 {
		return nil, nil, nil, faults
	}
	store := inmem.NewFromObjectWithOpts(
		o.bundled.Data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
	policy, facts, faults := compile(modules, store, o.terms.Schema, Entry, false)
	if len(faults) > 0 {
		return nil, nil, nil, faults
	}
	tested, faults := o.test(store, modules, tests)
	if len(faults) > 0 {
		return nil, nil, nil, faults
	}
	return policy, facts, tested, nil
}

// modules are those that decide, the shipped rules among them, and those that test.
func (o *Opened) modules() (rules, tests map[string]*ast.Module, faults []Fault) {
	rules, faults = parse(o.terms.Modules)
	tests = map[string]*ast.Module{}
	for _, file := range o.bundled.Modules {
		name := strings.TrimPrefix(file.Path, "/")
		switch {
		case file.Parsed == nil:
			faults = append(faults, Fault{File: name, Line: 1, Code: "rego_parse_error", Message: "the file is empty"})
		case strings.HasSuffix(name, testSuffix):
			tests[name] = file.Parsed
		case rules[name] != nil:
			faults = append(faults, Fault{File: name, Line: 1, Code: "bundle_refused", Message: "is a name of the shipped rules"})
		default:
			rules[name] = file.Parsed
		}
	}
	return rules, tests, faults
}

// Asked gives the syntax trees of the rules that a sidecar asks for, with their places, as `opa parse` does: what they
// answer is checked where the form of an answer is known. They come in parts, because Python reads each at one go and
// nothing else goes on meanwhile; where there are too many, or one is too deep to be written and read by recursion,
// none come, and only what they answer is checked.
func (o *Opened) Asked() (trees []*ast.Module) {
	size := 0
	for _, file := range o.bundled.Modules {
		if file.Parsed == nil || strings.HasSuffix(file.Path, testSuffix) {
			continue
		}
		if name := file.Parsed.Package.Path.String(); name == "data.sidecar.custom" || name == "data.sidecar.authz" {
			if size += len(file.Raw); size > maxAskedBytes || deepest(file.Parsed) > maxAskedDepth {
				return nil
			}
			for rules := range slices.Chunk(file.Parsed.Rules, askedAtOnce) {
				trees = append(trees, &ast.Module{Package: file.Parsed.Package, Rules: rules})
			}
		}
	}
	return trees
}

func deepest(module *ast.Module) (most int) {
	depth := 0
	into := func(any) bool {
		depth++
		most = max(most, depth)
		return false
	}
	ast.NewBeforeAfterVisitor(into, func(any) { depth-- }).Walk(module)
	return most
}

func schemaSet(text []byte) (*ast.SchemaSet, *Fault) {
	var schema any
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, &Fault{Code: "schema_error", Message: err.Error()}
	}
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, schema)
	return set, nil
}

// test runs one test at a time, so that a processor is left for calls; a test that hangs is left behind.
func (o *Opened) test(store storage.Store, rules, tests map[string]*ast.Module) (*Tested, []Fault) {
	tested := &Tested{}
	if len(tests) == 0 || o.terms.TestMilliseconds <= 0 {
		return tested, nil
	}
	all := make(map[string]*ast.Module, len(rules)+len(tests))
	for name, module := range rules {
		all[name] = module
	}
	for name, module := range tests {
		all[name] = module
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.terms.TestMilliseconds)*time.Millisecond)
	defer cancel()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, []Fault{{File: "data", Code: "data_error", Message: err.Error()}}
	}
	defer store.Abort(ctx, txn)
	compiler := ast.NewCompiler().WithCapabilities(capabilities(false))
	runner := tester.NewRunner().SetCompiler(compiler).SetStore(store).SetModules(all).SetParallel(1).
		SetTimeout(time.Duration(o.terms.TestMilliseconds) * time.Millisecond)
	results, err := runner.RunTests(ctx, txn)
	if err != nil {
		return nil, explain(err)
	}
	var faults []Fault
	for {
		select {
		case <-ctx.Done():
			go drain(results)
			return nil, append(faults, Fault{Code: "tests_slow", Message: "the bundle's tests did not end in time"})
		case result, more := <-results:
			if !more {
				return tested, faults
			}
			switch {
			case result.Skip:
				tested.Skipped++
			case result.Pass():
				tested.Passed++
			default:
				faults = append(faults, failure(result))
			}
		}
	}
}

func drain(results chan *tester.Result) {
	for range results {
	}
}

func failure(result *tester.Result) Fault {
	fault := Fault{Code: "test_failed", Message: fmt.Sprintf("%s.%s fails", result.Package, result.Name)}
	if result.Error != nil {
		fault.Message = fmt.Sprintf("%s.%s ends with an error: %v", result.Package, result.Name, result.Error)
	}
	if result.Location != nil {
		fault.File, fault.Line = result.Location.File, result.Location.Row
	}
	return fault
}
