#!/usr/bin/env python3
"""CPython's threading and multiprocessing beside plait, for those who come from there.

The command line is that of harness.h. Needs: python3
"""

import mmap
import multiprocessing
import os
import statistics
import subprocess
import sys
import threading
import time

BUDGET = int(os.environ.get("BENCH_MS", "200")) / 1000
OURS = multiprocessing.get_context("fork")


def per_operation(measure):
    """Finds an n for which measure(n) takes about the budget of a run; returns ns per n. What it
    returns, if anything, is the seconds that count."""
    n = 1
    while True:
        start = time.perf_counter()
        counted = measure(n)
        took = counted or time.perf_counter() - start
        if took > BUDGET / 4:
            return took / n * 1e9
        n = max(2 * n, int(n * BUDGET / 2 / max(took, 1e-9))) if took > BUDGET / 64 else 4 * n


def acquire_release(lock):
    def measure(n):
        acquire, release = lock.acquire, lock.release
        for _ in range(n):
            acquire()
            release()
    return per_operation(measure)


def nothing():
    pass


def start_join(worker):
    def measure(n):
        for _ in range(n):
            w = worker(target=nothing)
            w.start()
            w.join()
    return per_operation(measure)


def square(i):
    return i * i


def pool_map(n_items, chunk):
    """Of processes: threads would wait for each other's GIL."""
    items = range(n_items)
    with OURS.Pool() as pool:
        pool.map(square, range(1000))

        def measure(n):
            for _ in range(n):
                pool.map(square, items, chunk)
        return per_operation(measure) / n_items


def fork(target):
    return OURS.Process(target=target)


# --- several workers; `kit` is threading or OURS and has the classes of both ---

def together(kit, workers, body):
    """Runs body(0) ... body(workers - 1) at once; seconds from the first one's start to the last one's
    end."""
    start = kit.Barrier(workers)
    began, ended = OURS.RawArray("d", workers), OURS.RawArray("d", workers)

    def serve(which):
        start.wait()
        began[which] = time.perf_counter()
        body(which)
        ended[which] = time.perf_counter()

    worker = threading.Thread if kit is threading else OURS.Process
    crew = [worker(target=serve, args=(which,)) for which in range(workers)]
    for w in crew:
        w.start()
    for w in crew:
        w.join()
    if not all(ended):
        sys.exit("a worker failed")
    return max(ended) - min(began)


def contended(kit, make):
    """As lock_contended of lock_shape.h, with two workers."""
    lock, done = make(), OURS.RawValue("q")

    def measure(n):
        def body(_):
            more = True
            while more:
                lock.acquire()
                more = done.value < n
                done.value += more
                lock.release()
        done.value = 0
        took = together(kit, 2, body)
        if done.value != n:
            sys.exit("the lock let two in at once")
        return took
    return per_operation(measure)


def held(lock):
    lock.acquire()
    return lock


class EventBell:
    def __init__(self, kit):
        self.event = kit.Event()

    def ring(self):
        self.event.set()

    def wait(self):
        self.event.wait()
        self.event.clear()


class ConditionBell:
    def __init__(self, kit):
        self.changed, self.rung = kit.Condition(), OURS.RawValue("b")

    def ring(self):
        with self.changed:
            self.rung.value = 1
            self.changed.notify()

    def wait(self):
        with self.changed:
            while not self.rung.value:
                self.changed.wait()
            self.rung.value = 0


def trip(kit, bell, n, rests):
    """Round trips as in round_trip.h: seconds of all, and of each if the asker rests before it."""
    asked, answered = bell(kit), bell(kit)
    words, took = mmap.mmap(-1, 128), OURS.RawArray("d", n)

    def body(which):
        for i in range(n):
            if which == 1:
                asked.wait()
                words[64:] = words[:64]
                answered.ring()
                continue
            if rests:
                time.sleep(0.001)
            start = time.perf_counter()
            words[:64] = i.to_bytes(64, "little")
            asked.ring()
            answered.wait()
            took[i] = time.perf_counter() - start
    return together(kit, 2, body), list(took)


def trip_busy(kit, bell):
    return per_operation(lambda n: trip(kit, bell, n, False)[0])


def trip_asleep(kit, bell):
    return statistics.median(trip(kit, bell, max(16, int(BUDGET * 1000)), True)[1]) * 1e9


def notify_all(kit, waiters):
    """As notify_shape.h."""
    lock = kit.Lock()
    called, answered = kit.Condition(lock), kit.Condition(lock)
    current, missing = OURS.RawValue("q"), OURS.RawValue("q")

    def call():
        with lock:
            current.value += 1
            missing.value = waiters
            called.notify_all()
            while missing.value:
                answered.wait()

    def answer(seen):
        with lock:
            while current.value == seen:
                called.wait()
            missing.value -= 1
            if not missing.value:
                answered.notify()

    def measure(n):
        def body(which):
            for seen in range(n):
                if which == 0:
                    call()
                else:
                    answer(seen)
        current.value = 0
        return together(kit, waiters + 1, body)
    return per_operation(measure)


def meet(kit, workers):
    barrier = kit.Barrier(workers)

    def measure(n):
        def body(_):
            for _ in range(n):
                barrier.wait()
        return together(kit, workers, body)
    return per_operation(measure)


# --- programs ---

def run_program(mebibytes):
    weight = bytearray(mebibytes << 20)
    weight[::4096] = b"x" * len(weight[::4096])

    def measure(n):
        for _ in range(n):
            subprocess.run(["/bin/true"], check=True)
    return per_operation(measure)


def communicate():
    size = 256 << 20
    data = b"x" * size
    start = time.perf_counter()
    done = subprocess.run(["cat"], input=data, capture_output=True, check=True)
    took = time.perf_counter() - start
    if len(done.stdout) != size:
        sys.exit("bytes are missing")
    return took * 1e9 / (size / 1024)


TABLE = {
    ("program_run/10", "CPython subprocess"): lambda: run_program(10),
    ("program_run/1024", "CPython subprocess"): lambda: run_program(1024),
    ("program_communicate", "CPython subprocess"): communicate,
    ("lock_free", "CPython Lock"): lambda: acquire_release(threading.Lock()),
    ("lock_shared_free", "CPython mp.Lock"): lambda: acquire_release(multiprocessing.Lock()),
    ("lock_contended", "CPython Lock"): lambda: contended(threading, threading.Lock),
    ("lock_contended_processes", "CPython mp.Lock"): lambda: contended(OURS, OURS.Lock),
    ("rlock_free", "CPython RLock"): lambda: acquire_release(threading.RLock()),
    ("rlock_again", "CPython RLock"): lambda: acquire_release(held(threading.RLock())),
    ("rlock_contended", "CPython RLock"): lambda: contended(threading, threading.RLock),
    ("rlock_shared_free", "CPython mp.RLock"): lambda: acquire_release(OURS.RLock()),
    ("rlock_contended_processes", "CPython mp.RLock"): lambda: contended(OURS, OURS.RLock),
    ("semaphore_free", "CPython Semaphore"): lambda: acquire_release(threading.Semaphore()),
    ("semaphore_contended", "CPython Semaphore"): lambda: contended(threading, threading.Semaphore),
    ("semaphore_shared_free", "CPython mp.Semaphore"): lambda: acquire_release(OURS.Semaphore()),
    ("semaphore_contended_processes", "CPython mp.Semaphore"):
        lambda: contended(OURS, OURS.Semaphore),
    ("event_threads_busy", "CPython Event"): lambda: trip_busy(threading, EventBell),
    ("event_threads_asleep", "CPython Event"): lambda: trip_asleep(threading, EventBell),
    ("event_processes_busy", "CPython mp.Event"): lambda: trip_busy(OURS, EventBell),
    ("event_processes_asleep", "CPython mp.Event"): lambda: trip_asleep(OURS, EventBell),
    ("condition_threads_busy", "CPython Condition"): lambda: trip_busy(threading, ConditionBell),
    ("condition_threads_asleep", "CPython Condition"):
        lambda: trip_asleep(threading, ConditionBell),
    ("condition_processes_busy", "CPython mp.Condition"): lambda: trip_busy(OURS, ConditionBell),
    ("condition_processes_asleep", "CPython mp.Condition"):
        lambda: trip_asleep(OURS, ConditionBell),
    ("condition_notify_all_threads", "CPython Condition"): lambda: notify_all(threading, 4),
    ("condition_notify_all_processes", "CPython mp.Condition"): lambda: notify_all(OURS, 4),
    ("barrier_threads", "CPython Barrier"): lambda: meet(threading, 2),
    ("barrier_threads_4", "CPython Barrier"): lambda: meet(threading, 4),
    ("barrier_processes", "CPython mp.Barrier"): lambda: meet(OURS, 2),
    ("barrier_processes_4", "CPython mp.Barrier"): lambda: meet(OURS, 4),
    ("thread_start", "CPython Thread"): lambda: start_join(threading.Thread),
    ("process_start", "CPython Process (fork)"): lambda: start_join(fork),
    ("map_tiny", "CPython Pool.map"): lambda: pool_map(1000000, None),
    ("map_tiny_chunk1", "CPython Pool.map"): lambda: pool_map(2000, 1),
}


def main():
    if len(sys.argv) != 3:
        for case, subject in TABLE:
            print(f"{case}\t{subject}\tpeer")
        return
    case, subject = sys.argv[1:]
    print(f"{case}\t{subject}\t{TABLE[case, subject]():.2f}")


if __name__ == "__main__":
    main()
