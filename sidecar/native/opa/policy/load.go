package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// Entry is the one rule a sidecar asks for.
const Entry = "data.sidecar.authz.decision"

// Source is what Load compiles: Rego modules by file name, the base document, and what conformance runs need.
type Source struct {
	Modules     map[string]string `json:"modules"`
	Data        json.RawMessage   `json:"data"`
	Documents   map[string]string `json:"documents"`   // large JSON files, by name, see addDocuments
	Conformance bool              `json:"conformance"` // every builtin of OPA, ways out included
	Schema      json.RawMessage   `json:"schema"`      // of every input; each use of the input must fit it
	Query       string            `json:"query"`       // another rule than Entry; conformance only
	Strict      bool              `json:"strict"`      // an error of a builtin ends the evaluation; conformance only
	NoInput     bool              `json:"no_input"`    // input is undefined, whatever is asked; conformance only
}

// Fault is one error of a policy, with its place where there is one.
type Fault struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Facts is what a sound decision cache needs to know of a policy.
type Facts struct {
	Base     [][]any  `json:"base"`     // constant prefixes of all that the answer may depend on, see reads
	Builtins []string `json:"builtins"` // builtins used anywhere in the policy, or put in the place of a function
	Detached bool     `json:"detached"` // evaluated on a goroutine of its own
}

// Policy is compiled and ready; it is safe for concurrent use.
type Policy struct {
	compiler *ast.Compiler
	query    ast.Body
	store    storage.Store
	detached bool
	strict   bool
	noInput  bool
	running  chan struct{} // one token for every detached evaluation that has not ended
}

// Load compiles a source (a JSON document of a Source). All faults of one compiler stage are returned at once.
func Load(document []byte) (*Policy, *Facts, []Fault) {
	var source Source
	if err := json.Unmarshal(document, &source); err != nil {
		return nil, nil, []Fault{{Code: "source_error", Message: err.Error()}}
	}
	modules, faults := parse(source.Modules)
	if len(faults) > 0 {
		return nil, nil, faults
	}
	store, faults := open(source)
	if len(faults) > 0 {
		return nil, nil, faults
	}
	entry := Entry
	if source.Conformance && source.Query != "" {
		entry = source.Query
	}
	policy, facts, faults := compile(modules, store, source.Schema, entry, source.Conformance)
	if len(faults) > 0 {
		return nil, nil, faults
	}
	policy.strict = source.Conformance && source.Strict
	policy.noInput = source.Conformance && source.NoInput
	return policy, facts, nil
}

// compile makes modules over a store ready to answer entry. Each use of the input must fit the schema, if there is one.
func compile(
	modules map[string]*ast.Module, store storage.Store, schema json.RawMessage, entry string, conformance bool,
) (*Policy, *Facts, []Fault) {
	ctx := context.Background()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, nil, []Fault{{File: "data", Code: "data_error", Message: err.Error()}}
	}
	defer store.Abort(ctx, txn)
	compiler := ast.NewCompiler().
		WithCapabilities(capabilities(conformance)).
		WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn))
	if len(schema) > 0 {
		schemas, fault := schemaSet(schema)
		if fault != nil {
			return nil, nil, []Fault{*fault}
		}
		compiler = compiler.WithSchemas(schemas)
	}
	if compiler.Compile(modules); compiler.Failed() {
		return nil, nil, explain(compiler.Errors)
	}
	query, err := compiler.QueryCompiler().Compile(ast.MustParseBody("answer = " + entry))
	if err != nil {
		return nil, nil, explain(err)
	}
	facts, err := describe(compiler, query)
	if err != nil {
		return nil, nil, explain(err)
	}
	return &Policy{
		compiler: compiler,
		query:    query,
		store:    store,
		detached: facts.Detached,
		running:  make(chan struct{}, maxDetached),
	}, facts, nil
}

func parse(sources map[string]string) (map[string]*ast.Module, []Fault) {
	modules := make(map[string]*ast.Module, len(sources))
	var faults []Fault
	names := make([]string, 0, len(sources))
	for name := range sources {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		module, err := ast.ParseModuleWithOpts(name, sources[name], ast.ParserOptions{RegoVersion: ast.RegoV1})
		switch {
		case err != nil:
			faults = append(faults, explain(err)...)
		case module == nil:
			faults = append(faults, Fault{File: name, Line: 1, Code: "rego_parse_error", Message: "the file is empty"})
		default:
			modules[name] = module
		}
	}
	return modules, faults
}

// open puts the base document in memory as AST values, so that reading it costs evaluation nothing.
func open(source Source) (storage.Store, []Fault) {
	root := map[string]any{}
	if len(source.Data) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(source.Data))
		decoder.UseNumber()
		if err := decoder.Decode(&root); err != nil {
			return nil, []Fault{{File: "data", Code: "data_error", Message: err.Error()}}
		}
	}
	if faults := addDocuments(root, source.Documents); len(faults) > 0 {
		return nil, faults
	}
	return inmem.NewFromObjectWithOpts(
		root, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true)), nil
}

func describe(compiler *ast.Compiler, query ast.Body) (*Facts, error) {
	refs, mocks := reads(compiler, query)
	facts := &Facts{Base: [][]any{}, Builtins: []string{}}
	for _, ref := range refs {
		path := []any{string(ref[0].Value.(ast.Var))}
		for _, term := range ref[1:] {
			value, err := ast.JSON(term.Value)
			if err != nil {
				return nil, err
			}
			path = append(path, value)
		}
		facts.Base = append(facts.Base, path)
	}
	for _, builtin := range compiler.Required.Builtins {
		facts.Builtins = append(facts.Builtins, builtin.Name)
	}
	facts.Builtins = append(facts.Builtins, mocks...)
	slices.Sort(facts.Builtins)
	facts.Builtins = slices.Compact(facts.Builtins)
	facts.Detached = slices.ContainsFunc(facts.Builtins, func(name string) bool { return !prompt[name] })
	return facts, nil
}

func explain(err error) []Fault {
	var several ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &several):
		faults := make([]Fault, 0, len(several))
		for _, e := range several {
			faults = append(faults, place(e))
		}
		return faults
	case errors.As(err, &one):
		return []Fault{place(one)}
	default:
		return []Fault{{Code: "rego_error", Message: fmt.Sprint(err)}}
	}
}

func place(e *ast.Error) Fault {
	fault := Fault{Code: e.Code, Message: e.Message}
	if e.Location != nil {
		fault.File, fault.Line = e.Location.File, e.Location.Row
	}
	return fault
}
