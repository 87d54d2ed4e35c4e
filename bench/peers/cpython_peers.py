#!/usr/bin/env python3
"""CPython's threading and multiprocessing beside plait, for those who come from there.

The command line is that of harness.h. Needs: python3
"""

import multiprocessing
import os
import sys
import threading
import time

BUDGET = int(os.environ.get("BENCH_MS", "200")) / 1000


def per_operation(measure):
    """Finds an n for which measure(n) takes about the budget of a run; returns ns per n."""
    n = 1
    while True:
        start = time.perf_counter()
        measure(n)
        took = time.perf_counter() - start
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
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(square, range(1000))

        def measure(n):
            for _ in range(n):
                pool.map(square, items, chunk)
        return per_operation(measure) / n_items


def fork(target):
    return multiprocessing.get_context("fork").Process(target=target)


TABLE = {
    ("lock_free", "CPython Lock"): lambda: acquire_release(threading.Lock()),
    ("lock_shared_free", "CPython mp.Lock"): lambda: acquire_release(multiprocessing.Lock()),
    ("semaphore_free", "CPython Semaphore"): lambda: acquire_release(threading.Semaphore()),
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
