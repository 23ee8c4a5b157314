//! The fast engine: compact unwind rules, and reuse of the thread's previous trace.
//!
//! Called in the hook by the thread whose stack it is, while it is busy. In steady state it reads words of the stack
//! and of its own tables: no lock, no system call, no allocation. A call site that the process meets for the first
//! time has its rule compiled from `.eh_frame`; a thread's first capture asks for the bounds of its stack.
//!
//! *Never a wrong stack*: whatever the rules cannot say exactly is left to the platform's unwinder
//! ([`Fallback`]), and where not even that can be trusted there is no stack at all. How it works, and why it is right, is
//! in `docs/capture.md`.

mod build_id;
mod bytes;
mod cfi;
#[cfg(any(test, heaptally_fuzz))]
mod cfi_oracle;
mod eh_frame;
mod modules;
mod rule;
pub(crate) mod rule_table;
mod segments;
mod stack_bounds;
mod stack_words;
mod trace;

use core::ffi::c_void;

use crate::arena::Arena;
use crate::capture::Entry;
use crate::fault::{self, Fault};
use crate::stack_hash::HashKey;
use crate::sync::{AtomicBool, AtomicU8, Ordering};

use eh_frame::{EhFrameHeader, Lookup};
use modules::Location;
use rule::{Kind, UNKNOWN_END};
use rule_table::{RuleKey, RuleTable};
use stack_bounds::StackBounds;
use trace::{Joinable, MAX_FRAMES, Trace, Unwound};

#[cfg(heaptally_fuzz)]
pub(crate) use cfi_oracle::check_table;
pub use modules::Modules;
pub(crate) use rule::{FrameState, Rule};

/// What all threads share.
pub struct Unwinder {
    rules: RuleTable,
    /// Loaded code.
    pub modules: Modules,
    /// A [`Reuse`].
    reuse: AtomicU8,
    /// Whether a stack was met that leads through code that was registered with libgcc's unwinder at run time.
    meets_registered: AtomicBool,
    /// Whether this is a forked child. libgcc finds registered code under a lock, which another thread of the parent may
    /// have held: then it is held for ever, and nothing tells.
    is_child: AtomicBool,
}

/// Whether a capture starts from what is left of the thread's previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reuse {
    /// Yes, and one that is the same is not looked at further.
    On = 0,
    /// Yes, and every capture goes the long way, where it can be compared.
    WithoutShortcut = 1,
    /// No.
    Off = 2,
}

/// What one thread keeps. Zeroed memory is a thread that has captured nothing.
pub(crate) struct ThreadUnwinder {
    pub(crate) trace: Trace,
    bounds: StackBounds,
    bounds_known: bool,
}

/// What a capture found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The stack of the last capture, all of it.
    Whole,
    /// `unwound` frames had to be unwound, the hook's own among them.
    Joined { unwound: usize },
    /// Every frame had to be unwound.
    Fresh { unwound: usize },
    /// The rules do not say: the platform's unwinder must be asked for the whole stack.
    Fallback(Fallback),
    /// What the rules say cannot be: no unwinder can be trusted with this stack.
    Implausible,
}

/// One past the highest address that code of a program can have.
pub(crate) const USER_ADDRESSES: u64 = 1 << 47;

/// Why the platform's unwinder was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fallback {
    /// `_dl_find_object` is not there.
    Unavailable = 0,
    /// A frame whose caller depends on other registers, or whose tables are in a form that is not read here.
    ComplexFrame = 1,
    /// Code that was registered with the unwinder at run time.
    RegisteredCode = 2,
    /// More modules were loaded and unloaded than can be numbered.
    TooManyModules = 3,
}

impl Fallback {
    pub(crate) const COUNT: usize = 4;
}

/// Where a walk ended before its root.
enum Stop {
    Fallback(Fallback),
    Implausible,
}

/// How a walk ended.
enum End {
    /// It met the trace at this frame.
    Joined(usize),
    Root,
    /// It has as many frames as are kept, and the stack goes on.
    Cut,
}

/// A walk that was not stopped.
struct Walked {
    end: End,
    /// Frames in `trace.unwound`.
    unwound: usize,
    /// Where it ended: the state behind the unwound frames.
    state: FrameState,
}

unsafe extern "C" {
    /// libgcc's; finds code that was registered at run time, too. Takes a lock if there is any.
    fn _Unwind_Find_FDE(pc: *const c_void, bases: *mut [usize; 3]) -> *const c_void;
}

impl Unwinder {
    pub(crate) const fn new() -> Self {
        Self {
            rules: RuleTable::new(),
            modules: Modules::new(),
            reuse: AtomicU8::new(Reuse::On as u8),
            meets_registered: AtomicBool::new(false),
            is_child: AtomicBool::new(false),
        }
    }

    /// Notes that this is a forked child, in which the lock of registered code is never taken. Called by the handler of
    /// forks.
    pub fn note_fork(&self) {
        self.is_child.store(true, Ordering::Relaxed);
    }

    /// Rules that are kept at most; others are compiled whenever they are needed.
    pub const MOST_RULES: usize = RuleTable::SLOTS;

    /// Looks at what the process is made of. Called by `start`, before the first capture; takes the loader's lock.
    pub fn prepare(&self) {
        self.modules.detect();
    }

    /// To be set before the first capture.
    pub fn set_reuse(&self, reuse: Reuse) {
        self.reuse.store(reuse as u8, Ordering::Relaxed);
    }

    #[inline(always)]
    fn reuse(&self) -> Reuse {
        match self.reuse.load(Ordering::Relaxed) {
            0 => Reuse::On,
            1 => Reuse::WithoutShortcut,
            _ => Reuse::Off,
        }
    }

    /// Rules compiled so far.
    pub fn rules(&self) -> u32 {
        self.rules.len()
    }

    /// Takes the stack of the calling thread into `thread.trace`, `limit` frames at most, from 1 to
    /// [`crate::MAX_DEPTH`].
    ///
    /// `leaf` is the state of the hook's entry, a frame of which the stack is not to have.
    ///
    /// # Safety
    ///
    /// `leaf` is the calling thread's state in a function that has not returned, and `thread` its own.
    #[inline]
    pub(crate) unsafe fn capture(
        &self,
        thread: &mut ThreadUnwinder,
        leaf: &FrameState,
        limit: usize,
        key: &HashKey,
        arena: &Arena,
    ) -> Outcome {
        if !thread.bounds_known {
            if !self.modules.is_usable() {
                return Outcome::Fallback(Fallback::Unavailable);
            }
            // SAFETY: the caller's.
            if unsafe { self.is_outside_handlers(&mut thread.trace, *leaf, arena) } {
                // What was captured in handlers before counts from other bounds.
                thread.trace.reset();
                thread.bounds = StackBounds::of_this_thread();
                thread.bounds_known = true;
            }
        }
        let limit = limit.clamp(1, MAX_FRAMES - 1);
        let joinable = match self.reuse() {
            Reuse::Off => Joinable::NOWHERE,
            Reuse::On | Reuse::WithoutShortcut => thread.trace.joinable(leaf.sp, thread.bounds),
        };
        // SAFETY: the caller's.
        let mut walked = unsafe { self.walk(thread, leaf, joinable, limit, arena) };
        if let Ok(Walked { end: End::Joined(index), unwound, .. }) = walked
            && index + unwound > limit
        {
            // The window is full. What is kept is decided from the leaf, so the walk goes on to where it is cut.
            // SAFETY: the caller's.
            walked = unsafe { self.walk(thread, leaf, Joinable::NOWHERE, limit, arena) };
        }
        let (bounds, trace) = (thread.bounds, &mut thread.trace);
        match &walked {
            &Ok(Walked { end: End::Joined(index), unwound: 0, .. }) if index == trace.depth() => Outcome::Whole,
            &Ok(Walked { end: End::Joined(index), unwound, ref state }) => {
                trace.replace(Some(index), unwound, state, trace.truncated(), bounds, key);
                Outcome::Joined { unwound }
            }
            &Ok(Walked { end: End::Root, unwound, ref state }) => {
                trace.replace(None, unwound, state, false, bounds, key);
                Outcome::Fresh { unwound }
            }
            &Ok(Walked { end: End::Cut, unwound, ref state }) => {
                // Half the window, so that the next deeper call does not cut again.
                trace.replace(None, 1 + limit.div_ceil(2), state, true, bounds, key);
                Outcome::Fresh { unwound }
            }
            Err(stop) => {
                trace.clear();
                match *stop {
                    // The platform's unwinder would take the lock of registered code.
                    Stop::Fallback(_) if self.is_child() && self.meets_registered.load(Ordering::Relaxed) => {
                        Outcome::Implausible
                    }
                    Stop::Fallback(why) => Outcome::Fallback(why),
                    Stop::Implausible => Outcome::Implausible,
                }
            }
        }
    }

    /// Keeps the stack of the trace where the quick way finds it, if captures may take that.
    #[inline]
    pub(crate) fn remember(&self, trace: &mut Trace) {
        if self.reuse() == Reuse::On {
            trace.remember();
        }
    }

    /// Unwinds from the leaf into `trace.unwound` until the trace is met, the root, or the limit.
    ///
    /// # Safety
    ///
    /// As for [`Unwinder::capture`].
    #[inline]
    unsafe fn walk(
        &self,
        thread: &mut ThreadUnwinder,
        leaf: &FrameState,
        mut joinable: Joinable,
        limit: usize,
        arena: &Arena,
    ) -> Result<Walked, Stop> {
        let (bounds, trace) = (thread.bounds, &mut thread.trace);
        // PERF: word by word, so that they stay in registers. In one piece the state lives in memory, and is copied in
        // other pieces than it was written in, which costs more than the step.
        let FrameState { mut pc, mut sp, mut fp, mut exact } = *leaf;
        let mut unwound = 0;
        let mut outside_root = 0;
        // Where the stack that is being walked ends, if that is known.
        let mut high = end_of_stack(bounds, sp);
        let end = loop {
            if let Some(index) = trace.join(FrameState { pc, sp, fp, exact }, &mut joinable) {
                if self.rules_hold(trace, index, arena) {
                    return Ok(Walked { end: End::Joined(index), unwound, state: FrameState { pc, sp, fp, exact } });
                }
                joinable = Joinable::NOWHERE;
            }
            // The hook's own frame does not count.
            if unwound > limit {
                break End::Cut;
            }
            let (rule, generation) = match self.rules.find(RuleKey::new(pc, exact, 0)) {
                Some(rule) => (rule, 0),
                None => match self.rule_of(pc, exact, trace, arena)? {
                    Known::Rule(rule, generation) => (rule, generation),
                    Known::Outside => {
                        outside_root = pc;
                        (Rule::END, 0)
                    }
                },
            };
            trace.unwound[unwound] = Unwound::new(FrameState { pc, sp, fp, exact }, rule, generation);
            unwound += 1;
            let caller = if rule.is_plain() {
                // SAFETY: the walk's own states, and the rule of the pc.
                match unsafe { rule.step_below(FrameState { pc, sp, fp, exact }, high) } {
                    Some(caller) => Some(caller),
                    None => {
                        // SAFETY: as above.
                        let caller = unsafe { rule.step_to_another_stack(FrameState { pc, sp, fp, exact }, high) };
                        high = caller.map_or(high, |caller| end_of_stack(bounds, caller.sp));
                        caller
                    }
                }
            } else {
                match rule.kind() {
                    Kind::End => break End::Root,
                    Kind::Complex => return Err(Stop::Fallback(Fallback::ComplexFrame)),
                    Kind::Plain | Kind::Indirect | Kind::Sigreturn => {
                        // SAFETY: as above.
                        let caller = unsafe { rule.step_elsewhere(FrameState { pc, sp, fp, exact }) };
                        // It may lie on another stack.
                        high = end_of_stack(bounds, caller.sp);
                        Some(caller)
                    }
                }
            };
            let Some(caller) = caller.filter(|caller| caller.sp & 7 == 0) else { return Err(Stop::Implausible) };
            FrameState { pc, sp, fp, exact } = caller;
            // The end of a stack that somebody made by hand: zero, or what lay there.
            if pc == 0 || pc >= USER_ADDRESSES {
                break End::Root;
            }
        };
        trace.set_outside_root(outside_root);
        Ok(Walked { end, unwound, state: FrameState { pc, sp, fp, exact } })
    }

    /// Whether no signal handler is on the stack, as far as can be told. The C library locks the thread to say where its
    /// stack lies, and a handler may have interrupted it there: std asks when a thread starts.
    ///
    /// # Safety
    ///
    /// As for [`Unwinder::capture`].
    #[cold]
    unsafe fn is_outside_handlers(&self, trace: &mut Trace, leaf: FrameState, arena: &Arena) -> bool {
        let mut state = leaf;
        for _ in 0..MAX_FRAMES {
            let rule = match self.rules.find(RuleKey::new(state.pc, state.exact, 0)) {
                Some(rule) => rule,
                None => match self.rule_of(state.pc, state.exact, trace, arena) {
                    Ok(Known::Rule(rule, _)) => rule,
                    Ok(Known::Outside) => return true,
                    Err(_) => return false,
                },
            };
            // SAFETY: the walk's own states, and the rule of the pc.
            match (rule.kind(), unsafe { rule.step_anywhere(state) }) {
                (Kind::End, _) => return true,
                (Kind::Sigreturn, _) | (_, None) => return false,
                (_, Some(caller)) if caller.pc == 0 || caller.pc >= USER_ADDRESSES => return true,
                (_, Some(caller)) => state = caller,
            }
        }
        true
    }

    /// Whether a signal handler that runs now, and entered the hook at `entry`, has interrupted the operation that
    /// began at the stack pointer `busy`: a signal frame lies between them. Without one, the operation's frames are no
    /// more: the thread has left them by a jump. Asked only when the hook finds itself entered twice.
    ///
    /// # Safety
    ///
    /// As for [`Unwinder::capture`].
    #[cold]
    pub(crate) unsafe fn is_interrupted(&self, entry: Entry, busy: usize, arena: &Arena) -> bool {
        let mut state = entry.state();
        for _ in 0..MAX_FRAMES {
            let Some(rule) = self.immortal_rule(state, arena) else { break };
            if rule.kind() == Kind::End {
                return false;
            }
            // SAFETY: the walk's own states, and the rule of the pc.
            let Some(caller) = (unsafe { rule.step_anywhere(state) }) else { break };
            // The caller of a signal frame is what it interrupted: here a frame of the operation, or one further in.
            if caller.exact && caller.sp <= busy as u64 {
                return true;
            }
            state = caller;
        }
        // Nobody knows. What is not on the stack below is gone.
        entry.sp <= busy
    }

    /// The rule of a frame in code that is never unloaded; `None` for others.
    fn immortal_rule(&self, state: FrameState, arena: &Arena) -> Option<Rule> {
        let key = RuleKey::new(state.pc, state.exact, 0);
        self.rules.find(key).or_else(|| {
            let address = call_address(state.pc, state.exact);
            let Location::Immortal(header) = self.modules.locate(address, arena) else { return None };
            let rule = compile(header, address);
            self.rules.insert(key, rule, arena);
            Some(rule)
        })
    }

    /// The rule of a frame that the table does not have, or that lies in volatile code.
    #[cold]
    #[inline(never)]
    fn rule_of(&self, pc: u64, exact: bool, trace: &mut Trace, arena: &Arena) -> Result<Known, Stop> {
        let address = call_address(pc, exact);
        let known = trace.modules().iter().find(|module| {
            // SAFETY: the frame is on the live stack.
            (module.start..module.end).contains(&address) && unsafe { self.modules.is_current(module.generation) }
        });
        let known = known.copied();
        let (generation, header) = match known {
            Some(module) => (module.generation, module.header),
            None => match self.modules.locate(address, arena) {
                Location::Immortal(header) => (0, header),
                Location::Volatile(module) => {
                    trace.add_module(module);
                    if !module.is_identified {
                        return Ok(Known::Rule(compile(module.header, address), module.generation));
                    }
                    (module.generation, module.header)
                }
                Location::Outside | Location::WithoutTables => {
                    return match self.is_registered(address) {
                        Some(true) => Err(Stop::Fallback(Fallback::RegisteredCode)),
                        Some(false) => Ok(Known::Outside),
                        None => Err(Stop::Implausible),
                    };
                }
                Location::Unnumbered => return Err(Stop::Fallback(Fallback::TooManyModules)),
            },
        };
        let key = RuleKey::new(pc, exact, generation);
        let rule = self.rules.find(key).unwrap_or_else(|| {
            let rule = compile(header, address);
            self.rules.insert(key, rule, arena);
            rule
        });
        Ok(Known::Rule(rule, generation))
    }

    /// Whether the rules of a trace, from frame `from` outwards, are still those of its steps (C3). `from` is on the live
    /// stack; where a rule holds, so is the next frame, and its module stays while it is looked at.
    #[inline]
    fn rules_hold(&self, trace: &Trace, from: usize, arena: &Arena) -> bool {
        !trace.rests_on_loader()
            || fault::is_planted(Fault::ModulesNotCompared)
            || self.modules_hold(trace, from, arena)
    }

    #[cold]
    fn modules_hold(&self, trace: &Trace, from: usize, arena: &Arena) -> bool {
        let mut last = 0;
        for generation in trace.generations(from) {
            // SAFETY: see `rules_hold`.
            if generation != 0 && generation != last && !unsafe { self.modules.is_current(generation) } {
                return false;
            }
            last = generation;
        }
        let outside = trace.outside_root();
        outside == 0 || {
            let location = self.modules.locate(outside - 1, arena);
            let is_outside = matches!(location, Location::Outside | Location::WithoutTables);
            is_outside && self.is_registered(outside - 1) == Some(false)
        }
    }

    /// Whether an address outside of all modules lies in code that was registered at run time; `None` in a forked child,
    /// where that cannot be asked.
    fn is_registered(&self, address: u64) -> Option<bool> {
        if self.is_child() {
            return None;
        }
        let mut bases = [0; 3];
        let address = core::ptr::without_provenance(address as usize);
        // SAFETY: any address may be asked for; the structure of three pointers is filled when something is found.
        let is_registered = !unsafe { _Unwind_Find_FDE(address, &raw mut bases) }.is_null();
        if is_registered {
            self.meets_registered.store(true, Ordering::Relaxed);
        }
        Some(is_registered)
    }

    fn is_child(&self) -> bool {
        // Relaxed: of this process from the start.
        self.is_child.load(Ordering::Relaxed)
    }
}

/// One past the stack that `sp` lies in: of the thread's own, if it does.
#[inline]
fn end_of_stack(bounds: StackBounds, sp: u64) -> u64 {
    if bounds.contains(sp) { bounds.high } else { UNKNOWN_END }
}

/// What is known of a frame.
enum Known {
    /// The rule, and the generation of its module.
    Rule(Rule, u16),
    /// It lies in no module: the end of the stack.
    Outside,
}

/// Where the call is, not where it returns to: that may be the next function.
fn call_address(pc: u64, exact: bool) -> u64 {
    if exact || fault::is_planted(Fault::CallerAtReturnAddress) { pc } else { pc.wrapping_sub(1) }
}

/// The rule of an instruction, from the tables of its module.
fn compile(header: EhFrameHeader, address: u64) -> Rule {
    match header.find(address) {
        Lookup::Found(fde) => cfi::compile(&fde, address),
        Lookup::Nothing => Rule::END,
        Lookup::Unreadable => Rule::COMPLEX,
    }
}

impl ThreadUnwinder {
    /// What a new owner must not inherit: the old stack may be unmapped.
    pub(crate) fn reset(&mut self) {
        self.trace.reset();
        self.bounds = StackBounds::UNKNOWN;
        self.bounds_known = false;
    }
}
