"""The native part of the thread scheme, in LLVM's language: how regions are shared and awaited.

A program is a row of regions, and a region a row of units that any thread may do in any order.
One caller at a time leads: it *publishes* a region as a number of shares, and it and the helpers
*claim* shares by counting `@remaining` down. Whoever finishes a region's last share publishes the
next one, and runs regions of a single share itself on the way, with no other thread asked.

What makes it safe, in four sentences. A claim that succeeds (the count was above zero) is a share
of the region that is published now, whatever a thread believed before: `@job` is read only after
it. A region is not replaced before all its claimed shares are finished, so `@job` stays as it is
while one is held. A thread that neither holds a share nor is the one to go on to the next region
touches nothing but this module's own globals, so a program's memory may go as soon as `@finished`
is set. And nobody waits for a thread that holds no share, so a helper that sleeps, or never came to
be, costs nothing but its help.

What to read: `@advance` and `@work` are the scheme, `@atled_run` the way in. When to spin, sleep,
start and stop is in `idle.py`.
"""

import re

from atled.compile.idle import idle_ir

__all__ = ["CALLERS", "MOST_THREADS", "ir"]

CALLERS = 16  # Python threads that run programs at once; scratch buffers 0 to CALLERS - 1
MOST_THREADS = 1024

_PTHREAD_BYTES = 256  # above the size of a mutex and of a condition variable everywhere

# Each hot counter has two cache lines to itself: processors fetch lines in pairs.
_GLOBALS = f"""
%Region = type {{ ptr, i64, i64 }}  ; function, units, grain
%Call = type {{ ptr, i64, ptr, i64 }}  ; regions, count, frame, threads
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
declare i32 @usleep(i32)
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

; The same, from a record: ctypes takes 0.1 µs for each argument that it converts.
define void @atled_call(ptr %call) {{
  %count.at = getelementptr %Call, ptr %call, i64 0, i32 1
  %frame.at = getelementptr %Call, ptr %call, i64 0, i32 2
  %threads.at = getelementptr %Call, ptr %call, i64 0, i32 3
  %regions = load ptr, ptr %call
  %count = load i64, ptr %count.at
  %frame = load ptr, ptr %frame.at
  %threads = load i64, ptr %threads.at
  call void @atled_run(ptr %regions, i64 %count, ptr %frame, i64 %threads)
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


def ir() -> str:
    """Return the module for this machine."""
    text = _GLOBALS + _SCHEME + _CALLER + idle_ir(CALLERS)
    # As written, not optimised: that takes a third of the time, and nothing is lost at run time.
    return re.sub(r"^(define .*\)) \{$", r"\1 noinline optnone {", text, flags=re.MULTILINE)
