// Go's sync.Mutex, a buffered channel used as a semaphore, and (for information) goroutines, beside
// plait_lock, plait_semaphore and plait_start. The loops are those of lock_shape.h and
// worker_shape.h, the command line is that of harness.h. Needs: golang-go
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

type subject struct {
	name, subject, role string
	run                 func(x int) float64
	x                   int
}

var table = []subject{
	{"lock_free", "Go", "peer", freeMutex, 0},
	{"lock_contended", "Go", "peer", contendedMutex, 2},
	{"lock_curve/1", "Go", "peer", contendedMutex, 1},
	{"lock_curve/2", "Go", "peer", contendedMutex, 2},
	{"lock_curve/4", "Go", "peer", contendedMutex, 4},
	{"lock_curve/8", "Go", "peer", contendedMutex, 8},
	{"semaphore_free", "Go channel", "peer", freeChannel, 0},
	{"semaphore_contended", "Go channel", "peer", contendedChannel, 2},
	{"thread_start", "Go goroutine", "info", startGoroutine, 0},
}

// perOperation finds an n for which measure(n) takes about the budget of a run.
func perOperation(measure func(n int) time.Duration) float64 {
	budget := 200 * time.Millisecond
	if ms, err := strconv.Atoi(os.Getenv("BENCH_MS")); err == nil {
		budget = time.Duration(ms) * time.Millisecond
	}
	n, took := 1, time.Duration(0)
	for ; ; n *= 4 {
		took = measure(n)
		if again := measure(n); again < took {
			took = again
		}
		if took > budget/16 {
			break
		}
	}
	wanted := int(float64(n) * float64(budget) / float64(took))
	if wanted <= n {
		return float64(took) / float64(n)
	}
	return float64(measure(wanted)) / float64(wanted)
}

// together runs body in `workers` goroutines at once, each on a thread of its own if there are enough.
func together(workers int, body func()) time.Duration {
	var ready atomic.Int32
	var end sync.WaitGroup
	var start time.Time
	for i := 0; i < workers; i++ {
		end.Add(1)
		go func(which int) {
			for ready.Add(1); ready.Load() < int32(workers); {
				runtime.Gosched()
			}
			if which == 0 {
				start = time.Now()
			}
			body()
			end.Done()
		}(i)
	}
	end.Wait()
	return time.Since(start)
}

func freeMutex(int) float64 {
	var mutex sync.Mutex
	return perOperation(func(n int) time.Duration {
		start := time.Now()
		for i := 0; i < n; i++ {
			mutex.Lock()
			mutex.Unlock()
		}
		return time.Since(start)
	})
}

//go:noinline
func dawdle(turns int) (sum int) {
	for i := 0; i < turns; i++ {
		sum += i
	}
	return
}

func contendedMutex(workers int) float64 {
	var mutex sync.Mutex
	return perOperation(func(n int) time.Duration {
		done := 0
		return together(workers, func() {
			for more := true; more; {
				mutex.Lock()
				if more = done < n; more {
					done++
				}
				mutex.Unlock()
				dawdle(20)
			}
		})
	})
}

func freeChannel(int) float64 {
	permits := make(chan struct{}, 1)
	return perOperation(func(n int) time.Duration {
		start := time.Now()
		for i := 0; i < n; i++ {
			permits <- struct{}{}
			<-permits
		}
		return time.Since(start)
	})
}

func contendedChannel(workers int) float64 {
	permits := make(chan struct{}, 1)
	return perOperation(func(n int) time.Duration {
		done := 0
		return together(workers, func() {
			for more := true; more; {
				permits <- struct{}{}
				if more = done < n; more {
					done++
				}
				<-permits
				dawdle(20)
			}
		})
	})
}

func startGoroutine(int) float64 {
	return perOperation(func(n int) time.Duration {
		start := time.Now()
		for i := 0; i < n; i++ {
			end := make(chan struct{})
			go func() { close(end) }()
			<-end
		}
		return time.Since(start)
	})
}

func main() {
	for _, s := range table {
		if len(os.Args) != 3 {
			fmt.Printf("%s\t%s\t%s\n", s.name, s.subject, s.role)
		} else if s.name == os.Args[1] && s.subject == os.Args[2] {
			fmt.Printf("%s\t%s\t%.2f\n", s.name, s.subject, s.run(s.x))
		}
	}
}
