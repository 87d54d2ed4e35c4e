#!/usr/bin/env python3
"""CPython's asyncio beside plait's tasks, timers and streams. The loops are those of task_shape.h,
timer_shape.h and echo_shape.h, the command line is that of harness.h. Needs: python3
"""

import asyncio
import os
import pathlib
import resource
import sys
import time

BUDGET = int(os.environ.get("BENCH_MS", "200")) / 1000
ALSO = []  # further figures of the run: (suffix, value, unit)


def per_operation(measure):
    """Finds an n for which measure(n), which returns a coroutine, takes about the budget of a run; ns
    per n."""
    async def timed(n):
        start = time.perf_counter()
        await measure(n)
        return time.perf_counter() - start
    n = 1
    while (took := asyncio.run(timed(n))) <= BUDGET / 4:
        n = max(2 * n, int(n * BUDGET / 2 / max(took, 1e-9))) if took > BUDGET / 64 else 4 * n
    return took / n * 1e9


async def crew(n, body):
    """Runs body(0) ... body(n - 1) in tasks and waits for all."""
    for task in [asyncio.create_task(body(which)) for which in range(n)]:
        await task


# --- tasks ---

def switch(tasks):
    async def measure(n):
        async def turns(_):
            for _ in range(n // tasks + 1):
                await asyncio.sleep(0)
        await crew(tasks, turns)
    return per_operation(measure)


async def nothing():
    pass


def start_join():
    async def measure(n):
        for _ in range(n):
            await asyncio.create_task(nothing())
    return per_operation(measure)


def hand_over():
    async def measure(n):
        items, answers = asyncio.Queue(1), asyncio.Queue(1)

        async def body(which):
            for i in range(n):
                if which == 1:
                    await answers.put(1 + await items.get())
                    continue
                await items.put(i)
                if await answers.get() != i + 1:
                    sys.exit("an answer to another item")
        await crew(2, body)
    return per_operation(measure)


def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def parked(n):
    async def measure():
        gate, waiting = asyncio.Event(), 0

        async def body(which):
            nonlocal waiting
            if which < n:
                waiting += 1
                await gate.wait()
                return
            while waiting < n:
                await asyncio.sleep(0)
            ALSO.append(("memory", (resident() - before) / n, "B"))
            gate.set()
        await crew(n + 1, body)

    before, start = resident(), time.perf_counter()
    asyncio.run(measure())
    return (time.perf_counter() - start) / n * 1e9


# --- timers: processor time ---

def shuffled(i, n):
    return i * 7368787 % n


def worked(n, all_of_them):
    async def timed():
        before = time.process_time()
        await all_of_them()
        return time.process_time() - before
    return asyncio.run(timed()) / n * 1e9


def fire_timers(n):
    async def all_of_them():
        loop, done, fired = asyncio.get_running_loop(), asyncio.Event(), 0

        def fire():
            nonlocal fired
            fired += 1
            if fired == n:
                done.set()
        for i in range(n):
            loop.call_later(shuffled(i, n) / 1e6, fire)
        await done.wait()
    return worked(n, all_of_them)


def cancel_timers(n):
    async def all_of_them():
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(3600 * (1 + shuffled(i, n) / n), sys.exit, "it has fired")
                  for i in range(n)]
        for i in range(n):
            timers[shuffled(i, n)].cancel()
        await asyncio.sleep(0)
    return worked(n, all_of_them)


def sleepers(n):
    async def body(which):
        await asyncio.sleep(shuffled(which, n) / 1e6)
    return worked(n, lambda: crew(n, body))


# --- echo: streams ---

async def echo(reader, writer):
    try:
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


def serve_echo():
    """Serves until echo_load, which prints the figures, has ended, and ends as it does."""
    async def serve():
        server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=4096)
        port = server.sockets[0].getsockname()[1]
        load = await asyncio.create_subprocess_exec(
            os.environ["BENCH_ECHO_LOAD"], *sys.argv[1:], str(port), str(os.getpid()))
        os._exit(await load.wait() and 1)

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(serve())


TABLE = {
    ("task_switch", "asyncio"): lambda: switch(2),
    ("task_switch_100", "asyncio"): lambda: switch(100),
    ("task_start_join", "asyncio"): start_join,
    ("task_channel", "asyncio Queue"): hand_over,
    ("task_parked_100k", "asyncio"): lambda: parked(100000),
    ("task_parked_1M", "asyncio"): lambda: parked(1000000),
    ("task_timers_100k", "asyncio call_later"): lambda: fire_timers(100000),
    ("task_timers_1M", "asyncio call_later"): lambda: fire_timers(1000000),
    ("task_timers_cancelled_100k", "asyncio call_later"): lambda: cancel_timers(100000),
    ("task_timers_cancelled_1M", "asyncio call_later"): lambda: cancel_timers(1000000),
    ("task_sleepers_100k", "asyncio"): lambda: sleepers(100000),
    ("task_sleepers_1M", "asyncio"): lambda: sleepers(1000000),
    **{(f"echo_{size}/{n}", "asyncio streams"): serve_echo
       for size in (64, 4096, 65536) for n in (1, 100, 1000)},
    ("echo_idle", "asyncio streams"): serve_echo,
}


def main():
    if len(sys.argv) != 3:
        for case, subject in TABLE:
            print(f"{case}\t{subject}\tpeer")
        return
    case, subject = sys.argv[1:]
    print(f"{case}\t{subject}\t{TABLE[case, subject]():.2f}")
    for suffix, value, unit in ALSO:  # a curve has none here
        print(f"{case}_{suffix}\t{subject}\t{value:.2f}\t{unit}")


if __name__ == "__main__":
    main()
