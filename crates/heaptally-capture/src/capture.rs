//! The seam behind which stacks are taken.
//!
//! Called in the hook by the thread whose stack it is, while it is busy. An engine must not allocate through the global
//! allocator, lock or panic. Which engine takes a stack is decided here and nowhere else: the rules
//! ([`crate::unwind`]), and the platform's unwinder for what they cannot say.

use crate::arena::Arena;
use crate::capture_counts::CaptureCounts;
use crate::charge::Charge;
use crate::mismatch;
use crate::platform_unwinder::PlatformStack;
use crate::process::Process;
use crate::recording::SHORT_FRAMES;
use crate::ring::{Outline, RecordedIp};
use crate::stack_hash::StackHash;
use crate::stack_id::StackId;
use crate::sync::{AtomicBool, AtomicU32, Ordering};
use crate::unwind::{FrameState, Outcome, ThreadUnwinder};

/// Where the hook was entered: the registers in the allocator's method that the program called.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The instruction that was next when the registers were read.
    pub pc: usize,
    /// The stack pointer. Frames of the hook lie below it, or are this one.
    pub sp: usize,
    /// The frame pointer register, whatever the code uses it for.
    pub fp: usize,
}

impl Entry {
    /// The registers of the calling function, at an instruction in it. Every frame of the hook that is further in lies below
    /// its stack pointer, every frame of the program above, if the function does something after each call made from here, so
    /// that none of the calls replaces its frame. The unwind tables of a Rust function hold at every instruction of it.
    #[inline(always)]
    pub fn here() -> Self {
        let (pc, sp, fp): (usize, usize, usize);
        // SAFETY: copies registers.
        unsafe {
            core::arch::asm!(
                "lea {pc}, [rip]",
                "mov {sp}, rsp",
                "mov {fp}, rbp",
                pc = out(reg) pc,
                sp = out(reg) sp,
                fp = out(reg) fp,
                options(nomem, nostack, preserves_flags),
            )
        };
        Self { pc, sp, fp }
    }
}

/// How captures are checked against the platform's unwinder.
pub struct Verification {
    /// Every which capture of a thread; 0 for none.
    every: AtomicU32,
    /// Whether a difference ends the process.
    abort: AtomicBool,
}

/// What a thread captures into. Zeroed memory is a thread that has captured nothing.
pub(crate) struct Capturer {
    unwinder: ThreadUnwinder,
    platform: PlatformStack,
    /// Whether the last stack is in `platform`.
    is_platforms: bool,
    /// Captures since the last that was checked.
    unverified: u32,
}

/// What a capture gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Captured {
    /// The stack of the last capture.
    Same,
    /// Perhaps another one.
    Stack,
    /// None.
    Nothing,
}

impl Entry {
    #[inline(always)]
    pub(crate) fn state(self) -> FrameState {
        FrameState { pc: self.pc as u64, sp: self.sp as u64, fp: self.fp as u64, exact: true }
    }
}

impl Verification {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { every: AtomicU32::new(0), abort: AtomicBool::new(false) }
    }

    /// Whether some captures are checked.
    pub(crate) fn is_on(&self) -> bool {
        self.every.load(Ordering::Relaxed) != 0
    }

    /// Checks every `every`-th capture of each thread, none for 0. A difference is counted, and ends the process if
    /// `abort`. To be set before the first capture.
    pub fn set(&self, every: u32, abort: bool) {
        self.abort.store(abort, Ordering::Relaxed);
        self.every.store(every, Ordering::Relaxed);
    }
}

impl Capturer {
    /// What to charge if the stack is one that was captured lately, found the quick way: `None` says nothing.
    ///
    /// # Safety
    ///
    /// As for [`Capturer::capture`].
    #[inline]
    pub(crate) unsafe fn find_unchanged(&self, entry: Entry) -> Option<&Charge> {
        // SAFETY: the caller's.
        unsafe { self.unwinder.trace.find_unchanged(entry.state()) }
    }

    /// What the last stack is counted under; none before that was said.
    pub(crate) fn charge(&self) -> Charge {
        if self.is_platforms { Charge::NONE } else { self.unwinder.trace.charge() }
    }

    /// Says what the last stack is counted under, so that it is known when the stack is found unchanged.
    #[inline]
    pub(crate) fn set_charge(&mut self, charge: Charge, process: &Process) {
        if !self.is_platforms {
            self.unwinder.trace.set_charge(charge);
            if charge.line.is_some() {
                process.unwinder.remember(&mut self.unwinder.trace);
            }
        }
    }

    /// Takes the stack of the calling thread, as it is outside the hook that was entered at `entry`.
    ///
    /// # Safety
    ///
    /// `entry` was read by the calling thread in a function that has not returned.
    #[inline]
    pub(crate) unsafe fn capture(&mut self, entry: Entry, process: &Process, counts: &CaptureCounts) -> Captured {
        let limit = process.max_depth.load(Ordering::Relaxed) as usize;
        let arena: &Arena = &process.arena;
        // SAFETY: the entry is that of the calling thread's hook, which has not returned.
        let outcome =
            unsafe { process.unwinder.capture(&mut self.unwinder, &entry.state(), limit, &process.hash_key, arena) };
        counts.count(outcome);
        let captured = match outcome {
            Outcome::Whole => Captured::Same,
            _ => self.settle(outcome, entry, limit, process, counts),
        };
        if process.verification.is_on() {
            return self.verify(captured, entry, limit, process, counts);
        }
        captured
    }

    #[inline]
    fn settle(
        &mut self,
        outcome: Outcome,
        entry: Entry,
        limit: usize,
        process: &Process,
        counts: &CaptureCounts,
    ) -> Captured {
        self.is_platforms = matches!(outcome, Outcome::Fallback(_));
        match outcome {
            Outcome::Whole | Outcome::Joined { .. } | Outcome::Fresh { .. } => {}
            Outcome::Fallback(_) => {
                self.platform.take(entry.sp, limit);
                self.number(process);
            }
            Outcome::Implausible => return Captured::Nothing,
        }
        if self.truncated() {
            counts.count_truncated();
        }
        if self.depth() == 0 { Captured::Nothing } else { Captured::Stack }
    }

    #[cold]
    fn verify(
        &mut self,
        captured: Captured,
        entry: Entry,
        limit: usize,
        process: &Process,
        counts: &CaptureCounts,
    ) -> Captured {
        self.unverified = self.unverified.wrapping_add(1);
        if self.is_platforms
            || captured == Captured::Nothing
            || self.unverified < process.verification.every.load(Ordering::Relaxed)
        {
            return captured;
        }
        self.unverified = 0;
        // Deep enough to compare what a truncated window keeps of the stack.
        self.platform.take(entry.sp, limit);
        let theirs = || self.platform.leaf_first().map(|frame| frame.ip);
        let trace = &self.unwinder.trace;
        let ours = || trace.leaf_first().map(|frame| frame.ip);
        let same = ours().eq(theirs().take(trace.depth())) && (trace.truncated() || theirs().len() == trace.depth());
        counts.count_verified(same);
        if same {
            return captured;
        }
        if process.verification.abort.load(Ordering::Relaxed) {
            mismatch::abort(ours(), theirs());
        }
        self.unwinder.trace.clear();
        self.is_platforms = true;
        self.number(process);
        Captured::Stack
    }

    /// Says of every frame of the platform's which module it lies in, if that may be unloaded.
    fn number(&mut self, process: &Process) {
        let (modules, arena) = (&process.unwinder.modules, &process.arena);
        self.platform.number(|ip| modules.generation_at(ip - 1, arena));
    }

    /// Instruction pointers, leaf first.
    pub(crate) fn leaf_first(&self) -> impl Iterator<Item = RecordedIp> + '_ {
        let traced = (!self.is_platforms).then(|| self.unwinder.trace.leaf_first());
        let platforms = self.is_platforms.then(|| self.platform.leaf_first());
        traced.into_iter().flatten().chain(platforms.into_iter().flatten())
    }

    /// What a record of the stack needs to say.
    pub(crate) fn outline(&self) -> Outline {
        if self.is_platforms {
            return Outline { base: None, new: self.depth(), truncated: self.truncated() };
        }
        let (base, new) = self.unwinder.trace.beyond_recorded();
        Outline { base, new, truncated: self.truncated() }
    }

    /// Notes that the thread's ring has the stack now, as `id`.
    pub(crate) fn set_recorded(&mut self, id: StackId) {
        if !self.is_platforms {
            self.unwinder.trace.set_recorded(id);
        }
    }

    /// Frames of the stack.
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        if self.is_platforms { self.platform.leaf_first().len() } else { self.unwinder.trace.depth() }
    }

    /// Whether the stack went on towards the root when the limit was reached.
    #[inline]
    pub(crate) fn truncated(&self) -> bool {
        if self.is_platforms { self.platform.truncated } else { self.unwinder.trace.truncated() }
    }

    /// What stands for the stack.
    #[inline]
    pub(crate) fn hash(&self, process: &Process) -> StackHash {
        if self.is_platforms {
            let root = process.hash_key.root(self.platform.truncated);
            return self.platform.leaf_first().rev().fold(root, StackHash::push);
        }
        self.unwinder.trace.hash(&process.hash_key)
    }

    /// What stands for the innermost frames of a stack that has more than [`SHORT_FRAMES`]: the hash of a stack that
    /// was cut to as many.
    pub(crate) fn short_hash(&self, process: &Process) -> StackHash {
        let mut leaf_first = [RecordedIp::from(0); SHORT_FRAMES];
        for (slot, ip) in leaf_first.iter_mut().zip(self.leaf_first()) {
            *slot = ip;
        }
        leaf_first.into_iter().rev().fold(process.hash_key.root(true), StackHash::push)
    }

    /// What a new owner must not inherit.
    pub(crate) fn reset(&mut self) {
        self.unwinder.reset();
        self.is_platforms = false;
    }
}
