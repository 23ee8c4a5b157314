//! The seam behind which stacks are taken.
//!
//! Called in the hook by the thread whose stack it is. An engine fills `out` with instruction pointers, leaf first,
//! starting with the first frame *outside* the hook; it must not allocate through the global allocator, lock or
//! panic. Which engine that is, is decided here and nowhere else; today it is the portable one, which uses the
//! platform's unwinder through the `backtrace` crate.

use crate::ring::MAX_DEPTH;

/// What an engine found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Frames written, leaf first.
    pub(crate) depth: usize,
    /// Whether the stack went on towards the root when the limit was reached.
    pub(crate) truncated: bool,
}

/// Takes the stack of the calling thread, `limit` frames at most.
///
/// `hook_frame` is an address inside the stack frame of the hook's entry. Frames whose stack pointer at the call is
/// not above it belong to the hook, however much the optimizer has inlined; they are left out.
pub(crate) fn capture(hook_frame: usize, limit: usize, out: &mut [usize; MAX_DEPTH]) -> Captured {
    let limit = limit.clamp(1, MAX_DEPTH);
    let mut captured = Captured { depth: 0, truncated: false };
    let mut inside_hook = true;
    let visit = |frame: &backtrace::Frame| {
        if inside_hook {
            if frame.sp().addr() <= hook_frame {
                return true;
            }
            inside_hook = false;
        }
        let ip = frame.ip().addr();
        if ip == 0 {
            return false;
        }
        if captured.depth == limit {
            captured.truncated = true;
            return false;
        }
        out[captured.depth] = ip;
        captured.depth += 1;
        true
    };
    // SAFETY: the crate's lock guards its symbol caches and, on other systems, dbghelp; unwinding with libgcc touches
    // neither, as the crate documents for this function.
    unsafe { backtrace::trace_unsynchronized(visit) };
    captured
}

/// Whether a capture from here names `caller`, the address of a function that is on the stack. Warms up the unwinder.
#[inline(never)]
pub fn self_test(caller: usize) -> bool {
    /// More than the code of a function that does nothing but call this one.
    const CALLER_BYTES: usize = 1024;
    let mut out = [0; MAX_DEPTH];
    let here = (&raw const out).addr();
    let captured = capture(here, MAX_DEPTH, &mut out);
    out[..captured.depth].iter().any(|ip| (caller..caller + CALLER_BYTES).contains(ip))
}
