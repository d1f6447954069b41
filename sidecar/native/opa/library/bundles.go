package main

/*
#include <stdint.h>
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"sync"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"
	astjson "github.com/open-policy-agent/opa/v1/ast/json"

	"policy-sidecar/opa/policy"
)

var bundles sync.Map // int64 -> *policy.Opened

type opened struct {
	Handle int64          `json:"handle,omitempty"`
	About  *policy.About  `json:"about,omitempty"`
	Faults []policy.Fault `json:"faults,omitempty"`
}

type activated struct {
	loaded
	Tested *policy.Tested `json:"tested,omitempty"`
}

// sidecar_opa_bundle_open unpacks and verifies an archive under policy.Terms and returns a JSON text that the caller
// frees with sidecar_opa_free. Its handle is given back to sidecar_opa_bundle_load or sidecar_opa_bundle_close.
//
//export sidecar_opa_bundle_open
func sidecar_opa_bundle_open(terms *C.char, size C.int64_t, archive *C.char, length C.int64_t) *C.char {
	return written(openBundle(bytesAt(terms, size), bytesAt(archive, length)))
}

// sidecar_opa_bundle_asked returns the JSON of policy.Opened.Asked, to be freed by the caller; the bundle stays open.
//
//export sidecar_opa_bundle_asked
func sidecar_opa_bundle_asked(handle C.int64_t) *C.char {
	return written(askedOf(int64(handle)))
}

// sidecar_opa_bundle_load compiles and tests an opened bundle within so many milliseconds, forgets it, and returns what
// sidecar_opa_load does.
//
//export sidecar_opa_bundle_load
func sidecar_opa_bundle_load(handle, milliseconds C.int64_t) *C.char {
	return written(within(milliseconds, func() activated { return loadBundle(int64(handle)) }))
}

// sidecar_opa_bundle_close forgets an opened bundle.
//
//export sidecar_opa_bundle_close
func sidecar_opa_bundle_close(handle C.int64_t) {
	bundles.Delete(int64(handle))
}

func openBundle(request, archive []byte) (result opened) {
	defer func() {
		if r := recover(); r != nil {
			result = opened{Faults: panicked(r)}
		}
	}()
	var terms policy.Terms
	if err := json.Unmarshal(request, &terms); err != nil {
		return opened{Faults: []policy.Fault{{Code: "source_error", Message: err.Error()}}}
	}
	bundle, about, faults := policy.OpenBundle(terms, archive)
	if len(faults) > 0 {
		return opened{Faults: faults}
	}
	handle := last.Add(1)
	bundles.Store(handle, bundle)
	return opened{Handle: handle, About: about}
}

// Places are left out of syntax trees unless asked for; nothing else here writes trees.
func init() {
	astjson.SetOptions(astjson.Options{MarshalOptions: astjson.MarshalOptions{IncludeLocation: astjson.NodeToggle{
		Term: true, Package: true, Rule: true, Head: true, Expr: true, SomeDecl: true, Every: true, With: true,
	}}})
}

type asked struct {
	Modules []*ast.Module  `json:"modules"`
	Faults  []policy.Fault `json:"faults,omitempty"`
}

func askedOf(handle int64) (result asked) {
	defer func() {
		if r := recover(); r != nil {
			result = asked{Faults: panicked(r)}
		}
	}()
	found, ok := bundles.Load(handle)
	if !ok {
		return asked{Faults: panicked("no bundle is open under this handle")}
	}
	return asked{Modules: found.(*policy.Opened).Asked()}
}

func loadBundle(handle int64) (result activated) {
	defer func() {
		if r := recover(); r != nil {
			result = activated{loaded: loaded{Faults: panicked(r)}}
		}
	}()
	found, ok := bundles.LoadAndDelete(handle)
	if !ok {
		return activated{loaded: loaded{Faults: panicked("no bundle is open under this handle")}}
	}
	compiled, facts, tested, faults := found.(*policy.Opened).Load()
	if len(faults) > 0 {
		return activated{loaded: loaded{Faults: faults}}
	}
	return activated{loaded: loaded{Handle: keep(compiled), Facts: facts}, Tested: tested}
}

func panicked(cause any) []policy.Fault {
	return []policy.Fault{{Code: "internal_error", Message: fmt.Sprint(cause)}}
}

func bytesAt(text *C.char, size C.int64_t) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(text)), int(size))
}

func written(result any) *C.char {
	text, err := json.Marshal(result)
	if err != nil {
		text = []byte(`{"faults":[{"file":"","line":0,"code":"internal_error","message":"the result cannot be written"}]}`)
	}
	return C.CString(string(text))
}
