// Go's goroutines, channels, timers and net package beside plait's tasks and streams; Go's sync.Mutex, sync.RWMutex, sync.Once and a buffered channel used as a semaphore; and, for information
// because goroutines switch without the kernel, sync.Cond, sync.WaitGroup and goroutines, beside
// plait's lock, rwlock, once, semaphore, condition, latch and start. The loops are those of
// lock_shape.h, rwlock_shape.h, once_shape.h, round_trip.h, notify_shape.h, meet_shape.h, worker_shape.h,
// task_shape.h, timer_shape.h and echo_shape.h, the command line is that of harness.h. Where it says "one
// processor", goroutines take turns on one thread, as a thread's tasks do. Needs: golang-go
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
	{"task_switch", "Go", "peer", switchGoroutines, 2},
	{"task_switch", "Go, one processor", "peer", oneProcessor(switchGoroutines), 2},
	{"task_switch_100", "Go", "peer", switchGoroutines, 100},
	{"task_switch_100", "Go, one processor", "peer", oneProcessor(switchGoroutines), 100},
	{"task_start_join", "Go", "peer", startGoroutine, 0},
	{"task_start_join", "Go, one processor", "peer", oneProcessor(startGoroutine), 0},
	{"task_channel", "Go", "peer", handOver, 0},
	{"task_channel", "Go, one processor", "peer", oneProcessor(handOver), 0},
	{"task_parked_100k", "Go", "peer", parked, 100000},
	{"task_parked_1M", "Go", "peer", parked, 1000000},
	{"task_timers_100k", "Go AfterFunc", "peer", fireTimers, 100000},
	{"task_timers_1M", "Go AfterFunc", "peer", fireTimers, 1000000},
	{"task_timers_cancelled_100k", "Go AfterFunc", "peer", cancelTimers, 100000},
	{"task_timers_cancelled_1M", "Go AfterFunc", "peer", cancelTimers, 1000000},
	{"task_sleepers_100k", "Go", "peer", sleepers, 100000},
	{"task_sleepers_1M", "Go", "peer", sleepers, 1000000},
	{"echo_64/1", "Go", "peer", serveEcho, 0},
	{"echo_64/100", "Go", "peer", serveEcho, 0},
	{"echo_64/1000", "Go", "peer", serveEcho, 0},
	{"echo_4096/1", "Go", "peer", serveEcho, 0},
	{"echo_4096/100", "Go", "peer", serveEcho, 0},
	{"echo_4096/1000", "Go", "peer", serveEcho, 0},
	{"echo_65536/1", "Go", "peer", serveEcho, 0},
	{"echo_65536/100", "Go", "peer", serveEcho, 0},
	{"echo_65536/1000", "Go", "peer", serveEcho, 0},
	{"echo_idle", "Go", "peer", serveEcho, 0},
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

// --- tasks ---

func oneProcessor(run func(x int) float64) func(x int) float64 {
	return func(x int) float64 {
		runtime.GOMAXPROCS(1)
		return run(x)
	}
}

func switchGoroutines(goroutines int) float64 {
	return perOperation(func(n int) time.Duration {
		return together(goroutines, func(int) {
			for i := 0; i <= n/goroutines; i++ {
				runtime.Gosched()
			}
		})
	})
}

func handOver(int) float64 {
	items, answers := make(chan int), make(chan int)
	return perOperation(func(n int) time.Duration {
		return together(2, func(which int) {
			for i := 0; i < n; i++ {
				if which == 1 {
					answers <- 1 + <-items
				} else {
					items <- i
					check(<-answers == i+1, "an answer to another item")
				}
			}
		})
	})
}

// resident is how many bytes of memory the process has.
func resident() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	check(err == nil, "no statm")
	var size, pages int
	fmt.Sscan(string(statm), &size, &pages)
	return float64(pages * os.Getpagesize())
}

func parked(n int) float64 {
	var waiting atomic.Int64
	var end sync.WaitGroup
	gate := make(chan struct{})
	before, start := resident(), time.Now()
	end.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			waiting.Add(1)
			<-gate
			end.Done()
		}()
	}
	for waiting.Load() < int64(n) {
		runtime.Gosched()
	}
	during := resident()
	close(gate)
	end.Wait()
	took := time.Since(start)
	also("memory", (during-before)/float64(n), "B")
	return float64(took) / float64(n)
}

// --- timers ---

// worked is the processor time that all of all(n) has cost, in ns per one of n.
func worked(n int, all func()) float64 {
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	all()
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	return float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / float64(n)
}

func shuffled(i, n int) int {
	return i * 7368787 % n
}

func soon(i, n int) time.Duration {
	return time.Duration(shuffled(i, n)) * time.Microsecond
}

func fireTimers(n int) float64 {
	return worked(n, func() {
		var fired sync.WaitGroup
		fired.Add(n)
		for i := 0; i < n; i++ {
			time.AfterFunc(soon(i, n), fired.Done)
		}
		fired.Wait()
	})
}

func cancelTimers(n int) float64 {
	return worked(n, func() {
		timers := make([]*time.Timer, n)
		for i := range timers {
			timers[i] = time.AfterFunc(time.Hour/time.Duration(n)*time.Duration(n+shuffled(i, n)), func() {})
		}
		for i := range timers {
			check(timers[shuffled(i, n)].Stop(), "it has fired")
		}
	})
}

func sleepers(n int) float64 {
	return worked(n, func() {
		var end sync.WaitGroup
		end.Add(n)
		for i := 0; i < n; i++ {
			go func(i int) {
				time.Sleep(soon(i, n))
				end.Done()
			}(i)
		}
		end.Wait()
	})
}

// --- echo ---

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 64*1024)
	for {
		n, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err = connection.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// serveEcho serves until echo_load, which prints the figures, has ended, and ends as it does.
func serveEcho(int) float64 {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "not listening")
	port := listener.Addr().(*net.TCPAddr).Port
	load := exec.Command(os.Getenv("BENCH_ECHO_LOAD"), os.Args[1], os.Args[2], fmt.Sprint(port), fmt.Sprint(os.Getpid()))
	load.Stdout, load.Stderr = os.Stdout, os.Stderr
	go func() {
		check(load.Run() == nil, "echo_load failed")
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		check(err == nil, "not accepted")
		go echo(connection)
	}
}

// --- the command line ---

var others []string

// also notes one more figure of the run, of "case_suffix" or "curve_suffix/8".
func also(suffix string, value float64, unit string) {
	name, point, isCurve := strings.Cut(os.Args[1], "/")
	if isCurve {
		point = "/" + point
	}
	others = append(others, fmt.Sprintf("%s_%s%s\t%s\t%.2f\t%s", name, suffix, point, os.Args[2], value, unit))
}

func main() {
	for _, s := range table {
		if len(os.Args) != 3 {
			fmt.Printf("%s\t%s\t%s\n", s.name, s.subject, s.role)
		} else if s.name == os.Args[1] && s.subject == os.Args[2] {
			fmt.Printf("%s\t%s\t%.2f\n", s.name, s.subject, s.run(s.x))
			for _, line := range others {
				fmt.Println(line)
			}
		}
	}
}
