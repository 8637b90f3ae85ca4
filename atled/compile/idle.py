"""What threads of the native scheme do while there is nothing to do: spin, sleep, come and go.

The other half of `runtime.py`, whose globals it uses. Spinning is cheap to end (a helper that
spins joins within 0.1 µs) and sleeping is not (some 5 µs for who wakes it, 50 µs and more until it
is there), so an idle helper spins for a millisecond first, which spans the time from one training
step to the next. A thread that has spun for a while offers its core to others, in case the one
that it is waiting for has none.
"""

import platform
import signal
import time

__all__ = ["idle_ir"]

_SPIN = 1_000_000  # ns that an idle helper spins before it sleeps
# ns after which a thread that spins sleeps a moment now and then. It does not yield: whoever takes
# its core then has it for a whole slice, while one that slept is let in again at once. Beside two
# busy processes on two cores, a step of 4 ms took 6 ms so, and 16 ms with sched_yield.
_POLITE = 50_000

_HELPER = f"""
; Spin once; return for how many ns the thread has been idle (counted in steps of 64 spins).
define internal i64 @pause(ptr %idle) {{
  %now = alloca {{ i64, i64 }}
  call void PAUSE
  %since.at = getelementptr i64, ptr %idle, i64 1
  %spins = load i64, ptr %idle
  %spun = add i64 %spins, 1
  store i64 %spun, ptr %idle
  %phase = and i64 %spun, 63
  %due = icmp eq i64 %phase, 0
  br i1 %due, label %look, label %short
short:
  ret i64 0
look:
  call i32 @clock_gettime(i32 CLOCK, ptr %now)
  %nanos.at = getelementptr {{ i64, i64 }}, ptr %now, i64 0, i32 1
  %seconds = load i64, ptr %now
  %nanos = load i64, ptr %nanos.at
  %whole = mul i64 %seconds, 1000000000
  %time = add i64 %whole, %nanos
  %since = load i64, ptr %since.at
  %first = icmp eq i64 %since, 0
  br i1 %first, label %begin, label %measure
begin:
  store i64 %time, ptr %since.at
  ret i64 0
measure:
  %elapsed = sub i64 %time, %since
  %long = icmp sgt i64 %elapsed, {_POLITE}
  br i1 %long, label %rest, label %done
rest:
  call i32 @usleep(i32 1)
  br label %done
done:
  ret i64 %elapsed
}}

; The life of a helper: work, spin, sleep.
define internal ptr @help(ptr %argument) {{
  %idle = alloca [2 x i64]
  %index = ptrtoint ptr %argument to i64
  %me = add i64 %index, FIRST
  br label %fresh
fresh:
  call void @llvm.memset.p0.i64(ptr %idle, i8 0, i64 16, i1 false)
  br label %look
look:
  %stop = load atomic i64, ptr @stop monotonic, align 8
  %home = icmp ne i64 %stop, 0
  br i1 %home, label %end, label %check
check:
  %limit = load atomic i64, ptr @limit monotonic, align 8
  %welcome = icmp slt i64 %index, %limit
  br i1 %welcome, label %try, label %spin
try:
  %did = call i64 @work(i64 %me)
  %some = icmp ne i64 %did, 0
  br i1 %some, label %fresh, label %spin
spin:
  %elapsed = call i64 @pause(ptr %idle)
  %tired = icmp sgt i64 %elapsed, {_SPIN}
  br i1 %tired, label %sleep, label %look
sleep:
  call void @sleep(i64 %index)
  br label %fresh
end:
  ret ptr null
}}

; Sleep until a wake-up comes, and this helper may take part.
define internal void @sleep(i64 %index) {{
  call i32 @pthread_mutex_lock(ptr @mutex)
  %wakes = load i64, ptr @wakes
  br label %look
look:
  %stop = load atomic i64, ptr @stop monotonic, align 8
  %home = icmp ne i64 %stop, 0
  br i1 %home, label %done, label %check
check:
  %now = load i64, ptr @wakes
  %woken = icmp ne i64 %now, %wakes
  %limit = load atomic i64, ptr @limit monotonic, align 8
  %welcome = icmp slt i64 %index, %limit
  %go = and i1 %woken, %welcome
  br i1 %go, label %done, label %ask
ask:  ; one above the limit is not counted: no wake-up of a small team is for it
  br i1 %welcome, label %count, label %wait
count:  ; after it a publisher sees a sleeper, or this helper sees its region
  %before = atomicrmw add ptr @sleepers, i64 1 seq_cst
  %remaining = load atomic i64, ptr @remaining seq_cst, align 8
  %any = icmp sgt i64 %remaining, 0
  br i1 %any, label %done, label %wait
wait:
  call i32 @pthread_cond_wait(ptr @wake_up, ptr @mutex)
  br label %look
done:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}}

define internal void @wake() {{
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 0, ptr @sleepers seq_cst, align 8
  %wakes = load i64, ptr @wakes
  %more = add i64 %wakes, 1
  store i64 %more, ptr @wakes
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @wake_up)
  ret void
}}
"""

_POOL = """
; Start helpers until there are `others`. They get no signals: those are Python's main thread's.
define internal void @start(i64 %others) {
  %all = alloca [16 x i64]
  %before = alloca [16 x i64]
  call i32 @sigfillset(ptr %all)
  FAULTS
  call i32 @pthread_sigmask(i32 SETMASK, ptr %all, ptr %before)
  %first = load i64, ptr @helpers
  br label %look
look:
  %started = phi i64 [ %first, %0 ], [ %index, %count ]
  %index = add i64 %started, 1
  %enough = icmp sge i64 %started, %others
  br i1 %enough, label %end, label %create
create:
  %handle.at = getelementptr i64, ptr @handles, i64 %index
  %argument = inttoptr i64 %index to ptr
  %error = call i32 @pthread_create(ptr %handle.at, ptr null, ptr @help, ptr %argument)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %content, label %count
count:
  store i64 %index, ptr @helpers
  br label %look
content:  ; the system gives no more threads: ask no more
  store atomic i64 %index, ptr @capacity monotonic, align 8
  br label %end
end:
  call i32 @pthread_sigmask(i32 SETMASK, ptr %before, ptr null)
  ret void
}

; Send all helpers home and wait until they are gone. A program that is running ends first.
define void @atled_stop() {
  br label %enter
enter:
  %taken = cmpxchg ptr @slots, i64 0, i64 1 acquire monotonic
  %free = extractvalue { i64, i1 } %taken, 1
  br i1 %free, label %tell, label %busy
busy:
  call i32 @sched_yield()
  br label %enter
tell:
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 1, ptr @stop seq_cst, align 8
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call void @wake()
  %helpers = load i64, ptr @helpers
  br label %look
look:
  %joined = phi i64 [ 0, %tell ], [ %index, %join ]
  %index = add i64 %joined, 1
  %more = icmp slt i64 %joined, %helpers
  br i1 %more, label %join, label %end
join:
  %handle.at = getelementptr i64, ptr @handles, i64 %index
  %handle = load i64, ptr %handle.at
  call i32 @pthread_join(i64 %handle, ptr null)
  br label %look
end:
  store i64 0, ptr @helpers
  store atomic i64 0, ptr @stop seq_cst, align 8
  store atomic i64 0, ptr @slots release, align 8
  ret void
}

; Begin with no helper and no caller: at the start, and in a child after a fork.
define void @atled_reset() {
  store i64 0, ptr @remaining
  store i64 0, ptr @limit
  store i64 0, ptr @stop
  store i64 0, ptr @helpers
  store i64 0, ptr @sleepers
  call void @llvm.memset.p0.i64(ptr @slots, i8 0, i64 SLOTS, i1 false)
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @wake_up, ptr null)
  ret void
}

; Set the scratch buffers, one for each of CALLERS and of the helpers, and the most threads.
define void @atled_provide(ptr %scratches, i64 %capacity) {
  store atomic ptr %scratches, ptr @scratches release, align 8
  store atomic i64 %capacity, ptr @capacity release, align 8
  ret void
}

define i64 @atled_helpers() {
  %helpers = load i64, ptr @helpers
  ret i64 %helpers
}
"""


def idle_ir(callers: int) -> str:
    """Return the functions `pause`, `help`, `sleep`, `wake`, `start`, `stop` for this machine.

    Args:
        callers: how many scratch buffers are for callers; those of the helpers follow.
    """
    # On arm `yield` does not wait at all; `isb` does, for about as long as `pause` on x86.
    arm = platform.machine().lower() in ("arm64", "aarch64")
    pause = "@llvm.aarch64.isb(i32 15)" if arm else "@llvm.x86.sse2.pause()"
    faults = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
    values = {
        "PAUSE": pause,
        "CLOCK": str(time.CLOCK_MONOTONIC),
        "SETMASK": str(int(signal.SIG_SETMASK)),
        "FAULTS": "\n  ".join(f"call i32 @sigdelset(ptr %all, i32 {int(n)})" for n in faults),
        "FIRST": str(callers - 1),
        "SLOTS": str(8 * callers),
    }
    text = _HELPER + _POOL + f"declare void {pause.replace(' 15', '')}\n"
    for name, value in values.items():
        text = text.replace(name, value)
    return text
