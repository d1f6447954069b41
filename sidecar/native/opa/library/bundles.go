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

// sidecar_opa_bundle_load compiles and tests an opened bundle, forgets it, and returns what sidecar_opa_load does.
//
//export sidecar_opa_bundle_load
func sidecar_opa_bundle_load(handle C.int64_t) *C.char {
	return written(loadBundle(int64(handle)))
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
	own := last.Add(1)
	policies.Store(own, compiled)
	return activated{loaded: loaded{Handle: own, Facts: facts}, Tested: tested}
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
		text = []byte(`{"faults":[{"code":"internal_error","message":"the result cannot be written"}]}`)
	}
	return C.CString(string(text))
}
