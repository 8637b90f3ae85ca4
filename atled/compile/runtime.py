"""The native part of the thread scheme, in LLVM's language: how regions are shared and awaited.

A program is a row of regions, and a region a row of units that any thread may do in any order.
One caller at a time leads: it *publishes* a region as a number of shares, and it and the helpers
*claim* shares by counting `@remaining` down. Whoever finishes a region's last share publishes the
next one, and runs regions of a single share itself on the way, with no other thread asked.

What makes it safe, in four sentences. A claim that succeeds (the count was above zero) is a share
of the region that is published now, whatever a thread believed before: `@job` is read only after
it. A region is not replaced before all its claimed shares are finished, so `@job` stays as it is
while one is held. A thread that holds no share touches nothing but this file's own globals, so a
program's memory may go as soon as `@finished` is set. And nobody waits for a thread that holds no
share, so a helper that sleeps, or never came to be, costs time and nothing else.

What to read: `@advance` and `@work` are the scheme; the rest is when to spin, sleep and start.
"""

import platform
import re
import signal
import time

__all__ = ["CALLERS", "MOST_THREADS", "ir"]

CALLERS = 16  # Python threads that run programs at once; scratch buffers 0 to CALLERS - 1
MOST_THREADS = 1024

_SPIN = 1_000_000  # ns that an idle helper spins before it sleeps
_POLITE = 50_000  # ns after which a thread that spins offers its core to others
_PTHREAD_BYTES = 256  # above the size of a mutex and of a condition variable everywhere

# Each hot counter has two cache lines to itself: processors fetch lines in pairs.
_GLOBALS = f"""
%Region = type {{ ptr, i64, i64 }}  ; function, units, grain
%Job = type {{ ptr, i64, i64, i64, ptr, ptr, ptr, i64 }}
; function, units, grain, shares, frame, scratches, next region, regions left after this one

@remaining = internal global [16 x i64] zeroinitializer, align 128   ; shares not claimed yet
@unfinished = internal global [16 x i64] zeroinitializer, align 128  ; shares not finished yet
@finished = internal global [16 x i64] zeroinitializer, align 128    ; 1 at a program's end
@job = internal global %Job zeroinitializer, align 128

@limit = internal global i64 0, align 128  ; threads that may take part, the leader counted
@stop = internal global i64 0              ; 1: helpers go home
@capacity = internal global i64 1          ; threads that there may be, the leader counted
@scratches = internal global ptr null      ; a scratch buffer for each caller and each helper
@helpers = internal global i64 0           ; threads started
@sleepers = internal global i64 0          ; helpers that a wake-up would help
@wakes = internal global i64 0             ; guarded by @mutex
@slots = internal global [{CALLERS} x i64] zeroinitializer, align 128  ; 1: a caller is in it
@handles = internal global [{MOST_THREADS} x i64] zeroinitializer
@mutex = internal global [{_PTHREAD_BYTES} x i8] zeroinitializer, align 64
@wake_up = internal global [{_PTHREAD_BYTES} x i8] zeroinitializer, align 64

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i32 @sched_yield()
declare i32 @clock_gettime(i32, ptr)
declare i64 @llvm.umin.i64(i64, i64)
"""

_SCHEME = """
; Go on to the next region: run those of one share at once, publish the first of several.
define internal void @advance(i64 %me) {
  %frame.at = getelementptr %Job, ptr @job, i64 0, i32 4
  %scratches.at = getelementptr %Job, ptr @job, i64 0, i32 5
  %next.at = getelementptr %Job, ptr @job, i64 0, i32 6
  %left.at = getelementptr %Job, ptr @job, i64 0, i32 7
  %frame = load ptr, ptr %frame.at
  %scratches = load ptr, ptr %scratches.at
  %scratch.at = getelementptr ptr, ptr %scratches, i64 %me
  %scratch = load ptr, ptr %scratch.at
  %first = load ptr, ptr %next.at
  %left.first = load i64, ptr %left.at
  br label %look
look:
  %region = phi ptr [ %first, %0 ], [ %next, %alone ], [ %next, %run ]
  %left = phi i64 [ %left.first, %0 ], [ %left.next, %alone ], [ %left.next, %run ]
  %none = icmp sle i64 %left, 0
  br i1 %none, label %end, label %take
end:
  store atomic i64 1, ptr @finished release, align 8
  ret void
take:
  %next = getelementptr %Region, ptr %region, i64 1
  %left.next = sub i64 %left, 1
  %units.at = getelementptr %Region, ptr %region, i64 0, i32 1
  %grain.at = getelementptr %Region, ptr %region, i64 0, i32 2
  %function = load ptr, ptr %region
  %units = load i64, ptr %units.at
  %grain = load i64, ptr %grain.at
  %one = icmp sle i64 %units, %grain
  br i1 %one, label %alone, label %publish
alone:
  %some = icmp sgt i64 %units, 0
  br i1 %some, label %run, label %look
run:
  call void %function(ptr %frame, i64 0, i64 %units, ptr %scratch)
  br label %look
publish:
  %above = add i64 %units, %grain
  %up = sub i64 %above, 1
  %shares = udiv i64 %up, %grain
  %job.units = getelementptr %Job, ptr @job, i64 0, i32 1
  %job.grain = getelementptr %Job, ptr @job, i64 0, i32 2
  %job.shares = getelementptr %Job, ptr @job, i64 0, i32 3
  store ptr %function, ptr @job
  store i64 %units, ptr %job.units
  store i64 %grain, ptr %job.grain
  store i64 %shares, ptr %job.shares
  store ptr %next, ptr %next.at
  store i64 %left.next, ptr %left.at
  store atomic i64 %shares, ptr @unfinished monotonic, align 8
  store atomic i64 %shares, ptr @remaining seq_cst, align 8
  %asleep = load atomic i64, ptr @sleepers seq_cst, align 8
  %wanted = icmp sgt i64 %asleep, 0
  br i1 %wanted, label %wake, label %done
wake:
  call void @wake()
  br label %done
done:
  ret void
}

; Claim and do shares until none is left; return how many (0: there was nothing to do).
define internal i64 @work(i64 %me) {
  br label %look
look:
  %count = phi i64 [ 0, %0 ], [ %more, %run ]
  %seen = load atomic i64, ptr @remaining monotonic, align 8
  %any = icmp sgt i64 %seen, 0
  br i1 %any, label %claim, label %out
claim:
  %old = atomicrmw sub ptr @remaining, i64 1 acquire
  %mine = icmp sgt i64 %old, 0
  br i1 %mine, label %run, label %out
run:
  %units.at = getelementptr %Job, ptr @job, i64 0, i32 1
  %grain.at = getelementptr %Job, ptr @job, i64 0, i32 2
  %shares.at = getelementptr %Job, ptr @job, i64 0, i32 3
  %frame.at = getelementptr %Job, ptr @job, i64 0, i32 4
  %scratches.at = getelementptr %Job, ptr @job, i64 0, i32 5
  %function = load ptr, ptr @job
  %units = load i64, ptr %units.at
  %grain = load i64, ptr %grain.at
  %shares = load i64, ptr %shares.at
  %frame = load ptr, ptr %frame.at
  %scratches = load ptr, ptr %scratches.at
  %scratch.at = getelementptr ptr, ptr %scratches, i64 %me
  %scratch = load ptr, ptr %scratch.at
  %share = sub i64 %shares, %old
  %begin = mul i64 %share, %grain
  %full = add i64 %begin, %grain
  %end = call i64 @llvm.umin.i64(i64 %full, i64 %units)
  call void %function(ptr %frame, i64 %begin, i64 %end, ptr %scratch)
  %more = add i64 %count, 1
  br label %look
out:
  %idle = icmp eq i64 %count, 0
  br i1 %idle, label %done, label %report
report:
  %before = atomicrmw sub ptr @unfinished, i64 %count acq_rel
  %last = icmp eq i64 %before, %count
  br i1 %last, label %next, label %done
next:
  call void @advance(i64 %me)
  br label %done
done:
  ret i64 %count
}
"""

_CALLER = f"""
; Do a program: `count` regions, one after another. threads is the most that take part.
define void @atled_run(ptr %regions, i64 %count, ptr %frame, i64 %threads) {{
  %idle = alloca [2 x i64]
  %capacity = load atomic i64, ptr @capacity acquire, align 8
  %team = call i64 @llvm.umin.i64(i64 %threads, i64 %capacity)
  %many = icmp sgt i64 %team, 1
  br i1 %many, label %try, label %alone
try:
  %taken = cmpxchg ptr @slots, i64 0, i64 1 acquire monotonic
  %free = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %free, label %lead, label %alone
alone:
  call void @run_alone(ptr %regions, i64 %count, ptr %frame)
  ret void
lead:
  call void @gather(i64 %team)
  %frame.at = getelementptr %Job, ptr @job, i64 0, i32 4
  %scratches.at = getelementptr %Job, ptr @job, i64 0, i32 5
  %next.at = getelementptr %Job, ptr @job, i64 0, i32 6
  %left.at = getelementptr %Job, ptr @job, i64 0, i32 7
  %scratches = load atomic ptr, ptr @scratches acquire, align 8
  store ptr %frame, ptr %frame.at
  store ptr %scratches, ptr %scratches.at
  store ptr %regions, ptr %next.at
  store i64 %count, ptr %left.at
  store atomic i64 0, ptr @finished monotonic, align 8
  call void @advance(i64 0)
  br label %fresh
fresh:
  call void @llvm.memset.p0.i64(ptr %idle, i8 0, i64 16, i1 false)
  br label %wait
wait:
  %finished = load atomic i64, ptr @finished acquire, align 8
  %over = icmp ne i64 %finished, 0
  br i1 %over, label %done, label %help
help:
  %did = call i64 @work(i64 0)
  %some = icmp ne i64 %did, 0
  br i1 %some, label %fresh, label %spin
spin:
  %elapsed = call i64 @pause(ptr %idle)
  br label %wait
done:
  store atomic i64 0, ptr @slots release, align 8
  ret void
}}

; Do a program on this thread, with a scratch buffer that no other caller is using.
define internal void @run_alone(ptr %regions, i64 %count, ptr %frame) {{
  br label %search
search:
  %slot = phi i64 [ 1, %0 ], [ 1, %full ], [ %other, %busy ]
  %slot.at = getelementptr i64, ptr @slots, i64 %slot
  %taken = cmpxchg ptr %slot.at, i64 0, i64 1 acquire monotonic
  %free = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %free, label %begin, label %busy
busy:
  %other = add i64 %slot, 1
  %beyond = icmp eq i64 %other, {CALLERS}
  br i1 %beyond, label %full, label %search
full:
  call i32 @sched_yield()
  br label %search
begin:
  %scratches = load atomic ptr, ptr @scratches acquire, align 8
  %scratch.at = getelementptr ptr, ptr %scratches, i64 %slot
  %scratch = load ptr, ptr %scratch.at
  br label %look
look:
  %done = phi i64 [ 0, %begin ], [ %done.next, %next ]
  %more = icmp slt i64 %done, %count
  br i1 %more, label %take, label %end
take:
  %region = getelementptr %Region, ptr %regions, i64 %done
  %units.at = getelementptr %Region, ptr %region, i64 0, i32 1
  %function = load ptr, ptr %region
  %units = load i64, ptr %units.at
  %some = icmp sgt i64 %units, 0
  br i1 %some, label %run, label %next
run:
  call void %function(ptr %frame, i64 0, i64 %units, ptr %scratch)
  br label %next
next:
  %done.next = add i64 %done, 1
  br label %look
end:
  store atomic i64 0, ptr %slot.at release, align 8
  ret void
}}

; Set how many threads take part, and see to it that they exist and are not asleep for good.
define internal void @gather(i64 %team) {{
  %limit = load atomic i64, ptr @limit monotonic, align 8
  store atomic i64 %team, ptr @limit monotonic, align 8
  %helpers = load i64, ptr @helpers
  %others = sub i64 %team, 1
  %few = icmp slt i64 %helpers, %others
  br i1 %few, label %start, label %look
start:
  call void @start(i64 %others)
  br label %look
look:
  %raised = icmp sgt i64 %team, %limit
  br i1 %raised, label %wake, label %done
wake:  ; those above the old limit sleep uncounted
  call void @wake()
  br label %done
done:
  ret void
}}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""

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
  br i1 %long, label %yield, label %done
yield:
  call i32 @sched_yield()
  br label %done
done:
  ret i64 %elapsed
}}

; The life of a helper: work, spin, sleep.
define internal ptr @help(ptr %argument) {{
  %idle = alloca [2 x i64]
  %index = ptrtoint ptr %argument to i64
  %me = add i64 %index, {CALLERS - 1}
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

_POOL = f"""
; Start helpers until there are `others`. They get no signals: those are Python's main thread's.
define internal void @start(i64 %others) {{
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
}}

; Send all helpers home and wait until they are gone. A program that is running ends first.
define void @atled_stop() {{
  br label %enter
enter:
  %taken = cmpxchg ptr @slots, i64 0, i64 1 acquire monotonic
  %free = extractvalue {{ i64, i1 }} %taken, 1
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
}}

; Begin with no helper and no caller: at the start, and in a child after a fork.
define void @atled_reset() {{
  store i64 0, ptr @remaining
  store i64 0, ptr @limit
  store i64 0, ptr @stop
  store i64 0, ptr @helpers
  store i64 0, ptr @sleepers
  call void @llvm.memset.p0.i64(ptr @slots, i8 0, i64 {8 * CALLERS}, i1 false)
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @wake_up, ptr null)
  ret void
}}

; Set the scratch buffers, one for each of CALLERS and of the helpers, and the most threads.
define void @atled_provide(ptr %scratches, i64 %capacity) {{
  store atomic ptr %scratches, ptr @scratches release, align 8
  store atomic i64 %capacity, ptr @capacity release, align 8
  ret void
}}

define i64 @atled_helpers() {{
  %helpers = load i64, ptr @helpers
  ret i64 %helpers
}}
"""


def ir() -> str:
    """Return the module for this machine."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    faults = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
    unblocked = "\n  ".join(f"call i32 @sigdelset(ptr %all, i32 {int(n)})" for n in faults)
    text = _GLOBALS + _SCHEME + _CALLER + _HELPER + _POOL
    # On arm `yield` does not wait at all; `isb` does, for about as long as `pause` on x86.
    pause = "@llvm.aarch64.isb(i32 15)" if arm else "@llvm.x86.sse2.pause()"
    text = text.replace("PAUSE", pause)
    text += f"declare void {pause.replace(' 15', '')}\n"
    text = text.replace("CLOCK", str(time.CLOCK_MONOTONIC)).replace("FAULTS", unblocked)
    # As written, not optimised: that takes a third of the time, and nothing is lost at run time.
    text = re.sub(r"^(define .*\)) \{$", r"\1 noinline optnone {", text, flags=re.MULTILINE)
    return text.replace("SETMASK", str(int(signal.SIG_SETMASK)))
