//! The platform's unwinder, through the `backtrace` crate: exact, and a hundred times slower than the rules.
//!
//! Called in the hook where the fast engine is not, or does not know, and to check it. Takes no lock and allocates
//! nothing with libgcc and glibc 2.35 or later, once it is warm.

use crate::ring::{MAX_DEPTH, RecordedIp};
use crate::unwind::USER_ADDRESSES;

/// A stack as this unwinder gives it. Zeroed memory is no stack.
pub(crate) struct PlatformStack {
    /// Words of [`RecordedIp`].
    ips: [u64; MAX_DEPTH],
    depth: usize,
    /// Whether the stack went on towards the root when the limit was reached.
    pub(crate) truncated: bool,
}

impl PlatformStack {
    /// Takes the stack of the calling thread, `limit` frames at most.
    ///
    /// Frames whose stack pointer at the call is not above `hook_sp`, the stack pointer in the hook's entry, belong to
    /// the hook, however much the optimizer has inlined; they are left out.
    #[inline(never)]
    pub(crate) fn take(&mut self, hook_sp: usize, limit: usize) {
        let limit = limit.clamp(1, MAX_DEPTH);
        self.depth = 0;
        self.truncated = false;
        let mut inside_hook = true;
        let visit = |frame: &backtrace::Frame| {
            if inside_hook {
                if frame.sp().addr() <= hook_sp {
                    return true;
                }
                inside_hook = false;
            }
            let ip = frame.ip().addr();
            // Not code: the end of a stack that somebody made by hand.
            if ip == 0 || ip as u64 >= USER_ADDRESSES {
                return false;
            }
            if self.depth == limit {
                self.truncated = true;
                return false;
            }
            self.ips[self.depth] = ip as u64;
            self.depth += 1;
            true
        };
        // SAFETY: the crate's lock guards its symbol caches and, on other systems, dbghelp; unwinding with libgcc
        // touches neither, as the crate documents for this function.
        unsafe { backtrace::trace_unsynchronized(visit) };
    }

    /// Gives every instruction pointer the generation of its module.
    pub(crate) fn number(&mut self, generation_of: impl Fn(u64) -> u16) {
        for word in self.ips.iter_mut().take(self.depth) {
            *word = RecordedIp { ip: *word, generation: generation_of(*word) }.word();
        }
    }

    /// Instruction pointers, leaf first.
    pub(crate) fn leaf_first(&self) -> impl ExactSizeIterator<Item = RecordedIp> + DoubleEndedIterator + '_ {
        self.ips.get(..self.depth).unwrap_or(&[]).iter().map(|&word| RecordedIp::from(word))
    }
}

/// Whether a capture from here names `caller`, the address of a function that is on the stack. Warms up the unwinder.
#[inline(never)]
pub fn self_test(caller: usize) -> bool {
    /// More than the code of a function that does nothing but call this one.
    const CALLER_BYTES: usize = 1024;
    let mut stack = PlatformStack { ips: [0; MAX_DEPTH], depth: 0, truncated: false };
    let here = (&raw const stack).addr();
    stack.take(here, MAX_DEPTH);
    stack.leaf_first().any(|frame| (caller..caller + CALLER_BYTES).contains(&(frame.ip as usize)))
}
