// Command library is the C shared library that the sidecar loads: policies by handle, bytes in, bytes out.
//
// Every export recovers from panics. Go's own garbage collector keeps a policy alive while an evaluation uses it,
// so releasing a handle during one is safe.
package main

/*
#include <stdint.h>
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/version"

	"policy-sidecar/opa/policy"
)

// Statuses: the low three bits of what sidecar_opa_evaluate returns. The rest is a number of bytes.
const (
	statusAnswered = iota // that many bytes of JSON were written
	statusUndefined
	statusTimeout
	statusFailed   // that many bytes of a message were written
	statusTooSmall // that many bytes are needed; nothing was written
)

var (
	policies sync.Map // int64 -> *policy.Policy
	last     atomic.Int64
)

// Six processors: one for the event loop's evaluation, four for those that were sent to threads because they are
// slow, one spare. With two, slow evaluations keep the event loop waiting up to 10 ms until one is pre-empted; six
// cost 5 % more CPU, for idle collector threads. An environment's GOMAXPROCS and GOGC do not count.
func init() {
	runtime.GOMAXPROCS(6)
	debug.SetGCPercent(garbagePercent)
}

type loaded struct {
	Handle int64          `json:"handle,omitempty"`
	Facts  *policy.Facts  `json:"facts,omitempty"`
	Faults []policy.Fault `json:"faults,omitempty"`
}

// sidecar_opa_load compiles a policy.Source within so many milliseconds and returns a JSON text that the caller frees
// with sidecar_opa_free.
//
//export sidecar_opa_load
func sidecar_opa_load(source *C.char, size, milliseconds C.int64_t) *C.char {
	document := slices.Clone(bytesAt(source, size)) // compiling may go on when the caller has taken its text back
	return written(within(milliseconds, func() activated { return activated{loaded: load(document)} }))
}

// within does the work on a goroutine that is left behind at the deadline: OPA's compiler cannot be interrupted, and
// takes more than twice as long for each level of nested comprehensions, of which a line has room for dozens.
func within(milliseconds C.int64_t, work func() activated) activated {
	deadline := time.Duration(milliseconds) * time.Millisecond
	done := make(chan activated, 1)
	go func() { done <- work() }()
	late := time.NewTimer(deadline)
	defer late.Stop()
	select {
	case result := <-done:
		return result
	case <-late.C:
		go func() { policies.Delete((<-done).Handle) }() // nobody has this handle
		return activated{loaded: loaded{Faults: []policy.Fault{{Code: "compile_slow", Message: fmt.Sprintf(
			"it does not compile within %v; what takes longest are comprehensions inside of each other", deadline)}}}}
	}
}

func load(source []byte) (result loaded) {
	defer func() {
		if r := recover(); r != nil {
			result = loaded{Faults: []policy.Fault{{Code: "internal_error", Message: fmt.Sprint(r)}}}
		}
	}()
	compiled, facts, faults := policy.Load(source)
	if len(faults) > 0 {
		return loaded{Faults: faults}
	}
	return loaded{Handle: keep(compiled), Facts: facts}
}

// keep gives a policy its handle.
func keep(compiled *policy.Policy) int64 {
	handle := last.Add(1)
	policies.Store(handle, compiled)
	memory.trim()
	return handle
}

// sidecar_opa_evaluate answers one input within deadline microseconds and returns bytes<<3 | status.
//
//export sidecar_opa_evaluate
func sidecar_opa_evaluate(handle C.int64_t, input *C.char, size, deadline C.int64_t, out *C.char, room C.int64_t) C.int64_t {
	document := unsafe.Slice((*byte)(unsafe.Pointer(input)), int(size))
	buffer := unsafe.Slice((*byte)(unsafe.Pointer(out)), int(room))
	answer, status := evaluate(int64(handle), document, time.Duration(deadline)*time.Microsecond)
	if len(answer) > len(buffer) {
		return C.int64_t(len(answer)<<3 | statusTooSmall)
	}
	return C.int64_t(copy(buffer, answer)<<3 | status)
}

func evaluate(handle int64, document []byte, deadline time.Duration) (answer []byte, status int) {
	defer func() {
		if r := recover(); r != nil {
			answer, status = fmt.Appendf(nil, "the engine panicked: %v", r), statusFailed
		}
	}()
	found, ok := policies.Load(handle)
	if !ok {
		return []byte("no policy is loaded under this handle"), statusFailed
	}
	answer, err := found.(*policy.Policy).Evaluate(document, deadline)
	switch {
	case err == nil:
		return answer, statusAnswered
	case errors.Is(err, policy.ErrUndefined):
		return nil, statusUndefined
	case errors.Is(err, policy.ErrTimeout):
		return nil, statusTimeout
	default:
		return []byte(err.Error()), statusFailed
	}
}

// sidecar_opa_release forgets a policy; evaluations under way finish.
//
//export sidecar_opa_release
func sidecar_opa_release(handle C.int64_t) {
	policies.Delete(int64(handle))
	memory.trim()
}

// sidecar_opa_free frees a text returned by this library.
//
//export sidecar_opa_free
func sidecar_opa_free(text *C.char) {
	C.free(unsafe.Pointer(text))
}

// sidecar_opa_version is OPA's version, to be freed by the caller.
//
//export sidecar_opa_version
func sidecar_opa_version() *C.char {
	return C.CString(version.Version)
}

func main() {}
