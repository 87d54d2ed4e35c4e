/* plait: threads, processes and coroutines behind one API. This header includes all others. */
#ifndef PLAIT_PLAIT_H
#define PLAIT_PLAIT_H

#include <plait/acquire_all.h>
#include <plait/arena.h>
#include <plait/bank.h>
#include <plait/barrier.h>
#include <plait/clock.h>
#include <plait/condition.h>
#include <plait/datagram.h>
#include <plait/deadlock.h>
#include <plait/error.h>
#include <plait/event.h>
#include <plait/exec.h>
#include <plait/fd.h>
#include <plait/file.h>
#include <plait/gather.h>
#include <plait/gil.h>
#include <plait/group.h>
#include <plait/label.h>
#include <plait/latch.h>
#include <plait/listener.h>
#include <plait/local.h>
#include <plait/lock.h>
#include <plait/log.h>
#include <plait/once.h>
#include <plait/pi_lock.h>
#include <plait/pool.h>
#include <plait/process.h>
#include <plait/program.h>
#include <plait/resolve.h>
#include <plait/rlock.h>
#include <plait/rwlock.h>
#include <plait/scope.h>
#include <plait/semaphore.h>
#include <plait/signal.h>
#include <plait/start_method.h>
#include <plait/stream.h>
#include <plait/supervisor.h>
#include <plait/task.h>
#include <plait/timer.h>
#include <plait/to_thread.h>
#include <plait/transport.h>
#include <plait/with.h>
#include <plait/worker.h>

#endif
