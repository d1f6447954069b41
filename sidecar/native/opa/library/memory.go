package main

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// At 400 % an evaluation costs 10 % less CPU than at 200 %, for 8 MB more memory; 800 % gains nothing more.
	garbagePercent = 400
	// Under a large policy 400 % would be many times its size: garbage is held to this many bytes, or to its size.
	garbageBytes = 64 << 20
	trimPause    = time.Second
)

// memory gives back to the system what loading left, and policies that were replaced. While calls are made the heap
// hardly shrinks by itself, and swaps of a policy of 100,000 entries would cost several times its size for good.
var memory = new(trimmer)

type trimmer struct {
	lock  sync.Mutex
	timer *time.Timer
}

// trim collects and gives back soon; once for all that is loaded and released meanwhile.
func (t *trimmer) trim() {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.timer == nil {
		t.timer = time.AfterFunc(trimPause, t.run)
	}
}

func (t *trimmer) run() {
	t.lock.Lock()
	t.timer = nil
	t.lock.Unlock()
	debug.FreeOSMemory()
	var now runtime.MemStats
	runtime.ReadMemStats(&now) // stops the world for some ten microseconds
	debug.SetGCPercent(percent(now.HeapAlloc))
}

// percent is how much garbage the heap may hold, in percent of the live bytes.
func percent(live uint64) int {
	return int(min(garbagePercent, max(100, garbageBytes*100/max(live, 1))))
}
