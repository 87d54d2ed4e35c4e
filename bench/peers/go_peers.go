// Go's sync.Mutex, sync.RWMutex, sync.Once and a buffered channel used as a semaphore; and, for information
// because goroutines switch without the kernel, sync.Cond, sync.WaitGroup and goroutines, beside
// plait's lock, rwlock, once, semaphore, condition, latch and start. The loops are those of
// lock_shape.h, rwlock_shape.h, once_shape.h, round_trip.h, notify_shape.h, meet_shape.h and
// worker_shape.h, the command line is that of harness.h. Needs: golang-go
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
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
	{"rwlock_read_free", "Go", "peer", freeRead, 0},
	{"rwlock_write_free", "Go", "peer", freeWrite, 0},
	{"rwlock_write_contended", "Go", "peer", contendedWrite, 2},
	{"rwlock_read_curve/1", "Go", "peer", readCurve, 1},
	{"rwlock_read_curve/2", "Go", "peer", readCurve, 2},
	{"rwlock_read_curve/4", "Go", "peer", readCurve, 4},
	{"rwlock_read_curve/8", "Go", "peer", readCurve, 8},
	{"rwlock_mixed_curve/1", "Go", "peer", mixedCurve, 1},
	{"rwlock_mixed_curve/2", "Go", "peer", mixedCurve, 2},
	{"rwlock_mixed_curve/4", "Go", "peer", mixedCurve, 4},
	{"rwlock_mixed_curve/8", "Go", "peer", mixedCurve, 8},
	{"condition_threads_busy", "Go goroutines", "info", tripBusy, 0},
	{"condition_threads_asleep", "Go goroutines", "info", tripAsleep, 0},
	{"condition_notify_all_threads", "Go goroutines", "info", notifyAll, 4},
	{"once_done", "Go", "peer", onceDone, 0},
	{"latch_threads", "Go goroutines", "info", meetAtGroups, 2},
	{"latch_threads_4", "Go goroutines", "info", meetAtGroups, 4},
	{"thread_start", "Go goroutine", "info", startGoroutine, 0},
}

// budget is the time that a run should take.
func budget() time.Duration {
	if ms, err := strconv.Atoi(os.Getenv("BENCH_MS")); err == nil {
		return time.Duration(ms) * time.Millisecond
	}
	return 200 * time.Millisecond
}

// perOperation finds an n for which measure(n) takes about the budget of a run.
func perOperation(measure func(n int) time.Duration) float64 {
	budget := budget()
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
func together(workers int, body func(which int)) time.Duration {
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
			body(which)
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
		return together(workers, func(int) {
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

func freeRead(int) float64 {
	var rw sync.RWMutex
	return perOperation(func(n int) time.Duration {
		start := time.Now()
		for i := 0; i < n; i++ {
			rw.RLock()
			rw.RUnlock()
		}
		return time.Since(start)
	})
}

func freeWrite(int) float64 {
	var rw sync.RWMutex
	return perOperation(func(n int) time.Duration {
		start := time.Now()
		for i := 0; i < n; i++ {
			rw.Lock()
			rw.Unlock()
		}
		return time.Since(start)
	})
}

func contendedWrite(workers int) float64 {
	var rw sync.RWMutex
	return perOperation(func(n int) time.Duration {
		done := 0
		return together(workers, func(int) {
			for more := true; more; {
				rw.Lock()
				if more = done < n; more {
					done++
				}
				rw.Unlock()
				dawdle(20)
			}
		})
	})
}

func readCurve(workers int) float64 {
	return rwCurve(workers, false)
}

func mixedCurve(workers int) float64 {
	return rwCurve(workers, true)
}

// rwCurve has all read as often as they can; if mixed, each writes once in 100 times.
func rwCurve(workers int, mixed bool) float64 {
	var work struct {
		rw    sync.RWMutex
		apart [128]byte
		a, b  int
	}
	return perOperation(func(n int) time.Duration {
		return together(workers, func(which int) {
			torn := false
			for i, turn := 0, which; i < n/workers+1; i, turn = i+1, turn+1 {
				if mixed && turn%100 == 0 {
					work.rw.Lock()
					work.a++
					work.b++
					work.rw.Unlock()
				} else {
					work.rw.RLock()
					torn = torn || work.a != work.b
					work.rw.RUnlock()
				}
			}
			check(!torn, "a reader and a writer were in at once")
		})
	})
}

func check(ok bool, what string) {
	if !ok {
		fmt.Fprintln(os.Stderr, "go_peers:", what)
		os.Exit(1)
	}
}

type bell struct {
	mutex   sync.Mutex
	changed *sync.Cond
	rung    bool
}

func newBell() *bell {
	b := &bell{}
	b.changed = sync.NewCond(&b.mutex)
	return b
}

func (b *bell) ring() {
	b.mutex.Lock()
	b.rung = true
	b.changed.Signal()
	b.mutex.Unlock()
}

func (b *bell) await() {
	b.mutex.Lock()
	for !b.rung {
		b.changed.Wait()
	}
	b.rung = false
	b.mutex.Unlock()
}

// trip has two goroutines make n round trips; the asker calls around(one trip) for each.
func trip(n int, around func(ask func())) time.Duration {
	asked, answered := newBell(), newBell()
	var question, answer [8]uint64
	return together(2, func(which int) {
		for i := 0; i < n; i++ {
			if which == 1 {
				asked.await()
				answer = question
				answered.ring()
				continue
			}
			around(func() {
				for w := range question {
					question[w] = uint64(i)
				}
				asked.ring()
				answered.await()
				check(answer[7] == uint64(i), "an answer to another question")
			})
		}
	})
}

func tripBusy(int) float64 {
	return perOperation(func(n int) time.Duration {
		return trip(n, func(ask func()) { ask() })
	})
}

func tripAsleep(int) float64 {
	n := int(budget() / time.Millisecond)
	if n < 16 {
		n = 16
	}
	took := make([]float64, 0, n)
	trip(n, func(ask func()) {
		time.Sleep(time.Millisecond)
		start := time.Now()
		ask()
		took = append(took, float64(time.Since(start)))
	})
	sort.Float64s(took)
	return took[n/2]
}

func notifyAll(waiters int) float64 {
	var mutex sync.Mutex
	called, answered := sync.NewCond(&mutex), sync.NewCond(&mutex)
	return perOperation(func(n int) time.Duration {
		round, missing := 0, 0
		return together(waiters+1, func(which int) {
			for seen := 0; seen < n; seen++ {
				mutex.Lock()
				if which == 0 {
					round++
					missing = waiters
					called.Broadcast()
					for missing > 0 {
						answered.Wait()
					}
				} else {
					for round == seen {
						called.Wait()
					}
					if missing--; missing == 0 {
						answered.Signal()
					}
				}
				mutex.Unlock()
			}
		})
	})
}

func onceDone(int) float64 {
	var once sync.Once
	nothing := func() {}
	once.Do(nothing)
	return perOperation(func(n int) time.Duration {
		start := time.Now()
		for i := 0; i < n; i++ {
			once.Do(nothing)
		}
		return time.Since(start)
	})
}

// meetAtGroups: a WaitGroup opens once, so each meeting has the next one of four; see latch_bench.c.
func meetAtGroups(workers int) float64 {
	return perOperation(func(n int) time.Duration {
		var groups [4]sync.WaitGroup
		for i := range groups {
			groups[i].Add(workers)
		}
		return together(workers, func(which int) {
			for turn := 0; turn < n; turn++ {
				groups[turn%4].Done()
				groups[turn%4].Wait()
				if which == 0 {
					groups[(turn+2)%4] = sync.WaitGroup{}
					groups[(turn+2)%4].Add(workers)
				}
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
		return together(workers, func(int) {
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
