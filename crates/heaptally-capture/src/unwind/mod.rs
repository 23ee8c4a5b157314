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
#[cfg(test)]
mod cfi_oracle;
mod eh_frame;
mod modules;
mod rule;
mod rule_table;
mod stack_bounds;
mod stack_words;
mod trace;

use core::ffi::c_void;

use crate::arena::Arena;
use crate::capture::Entry;
use crate::stack_hash::HashKey;
use crate::sync::{AtomicU8, Ordering};

use eh_frame::{EhFrameHeader, Lookup};
use modules::Location;
use rule::{Kind, Step, UNKNOWN_END};
use rule_table::{RuleKey, RuleTable};
use stack_bounds::StackBounds;
use trace::{MAX_FRAMES, Reusable, Trace, Unwound};

pub use modules::Modules;
pub(crate) use rule::{FrameState, Rule};

/// What all threads share.
pub struct Unwinder {
    rules: RuleTable,
    /// Loaded code.
    pub modules: Modules,
    /// A [`Reuse`].
    reuse: AtomicU8,
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

unsafe extern "C" {
    /// libgcc's; finds code that was registered at run time, too. Takes a lock if there is any.
    fn _Unwind_Find_FDE(pc: *const c_void, bases: *mut [usize; 3]) -> *const c_void;
}

impl Unwinder {
    pub(crate) const fn new() -> Self {
        Self { rules: RuleTable::new(), modules: Modules::new(), reuse: AtomicU8::new(Reuse::On as u8) }
    }

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
        leaf: FrameState,
        limit: usize,
        key: &HashKey,
        arena: &Arena,
    ) -> Outcome {
        let reuse = self.reuse();
        let reusable = match reuse {
            Reuse::Off => Reusable::Checked(0),
            Reuse::On | Reuse::WithoutShortcut => thread.trace.reusable(&leaf, thread.bounds),
        };
        let reusable = match reusable {
            Reusable::Whole if self.rules_hold(&thread.trace, usize::MAX, arena) => return Outcome::Whole,
            Reusable::Whole => Reusable::Checked(0),
            part => part,
        };
        if !thread.bounds_known {
            if !self.modules.is_usable() {
                return Outcome::Fallback(Fallback::Unavailable);
            }
            thread.bounds = StackBounds::of_this_thread();
            thread.bounds_known = true;
        }
        let limit = limit.clamp(1, MAX_FRAMES - 1);
        // SAFETY: the caller's.
        let mut walked = unsafe { self.walk(thread, leaf, reusable, limit, arena) };
        if let Ok((End::Joined(index), count)) = walked
            && index + count > limit
        {
            // The window is full. What is kept is decided from the leaf, so the walk goes on to where it is cut.
            // SAFETY: the caller's.
            walked = unsafe { self.walk(thread, leaf, Reusable::Checked(0), limit, arena) };
        }
        let (bounds, trace) = (thread.bounds, &mut thread.trace);
        let outcome = match walked {
            Ok((End::Joined(index), unwound)) => {
                trace.replace(Some(index), unwound, trace.truncated(), bounds, key);
                Outcome::Joined { unwound }
            }
            Ok((End::Root, unwound)) => {
                trace.replace(None, unwound, false, bounds, key);
                Outcome::Fresh { unwound }
            }
            Ok((End::Cut, unwound)) => {
                // Half the window, so that the next deeper call does not cut again.
                trace.replace(None, 1 + limit.div_ceil(2), true, bounds, key);
                Outcome::Fresh { unwound }
            }
            Err(stop) => {
                trace.clear();
                return match stop {
                    Stop::Fallback(why) => Outcome::Fallback(why),
                    Stop::Implausible => Outcome::Implausible,
                };
            }
        };
        if reuse == Reuse::On {
            trace.allow_shortcut(bounds);
        }
        outcome
    }

    /// Unwinds from the leaf into `trace.unwound` until the trace is met, the root, or the limit. The number is that of
    /// unwound frames; the state behind them is where the walk ended.
    ///
    /// # Safety
    ///
    /// As for [`Unwinder::capture`].
    #[inline]
    unsafe fn walk(
        &self,
        thread: &mut ThreadUnwinder,
        leaf: FrameState,
        mut reusable: Reusable,
        limit: usize,
        arena: &Arena,
    ) -> Result<(End, usize), Stop> {
        let (bounds, trace) = (thread.bounds, &mut thread.trace);
        let mut state = leaf;
        let mut count = 0;
        let mut outside_root = 0;
        // Where the stack that is being walked ends, if that is known.
        let mut high = end_of_stack(bounds, state.sp);
        let end = loop {
            trace.unwound[count].state = state;
            if let Some(index) = trace.join(&state, &mut reusable) {
                if self.rules_hold(trace, index, arena) {
                    return Ok((End::Joined(index), count));
                }
                reusable = Reusable::Checked(0);
            }
            // The hook's own frame does not count.
            if count > limit {
                break End::Cut;
            }
            let (rule, generation) = match self.rules.find(RuleKey::new(state.pc, state.exact, 0)) {
                Some(rule) => (rule, 0),
                None => match self.rule_of(&state, trace, arena)? {
                    Known::Rule(rule, generation) => (rule, generation),
                    Known::Outside => {
                        outside_root = state.pc;
                        (Rule::END, 0)
                    }
                },
            };
            let step = if rule.is_plain() {
                // SAFETY: the walk's own states, and the rule of the pc.
                match unsafe { rule.step_below(&state, high) } {
                    Some(step) => step,
                    None => {
                        // SAFETY: as above.
                        let step = unsafe { rule.step_to_another_stack(&state, high) }.ok_or(Stop::Implausible)?;
                        high = end_of_stack(bounds, step.caller.sp);
                        step
                    }
                }
            } else {
                match rule.kind() {
                    Kind::End => {
                        let slots = Unwound { state, rule, pc_slot: 0, fp_slot: 0, cfa_slot: 0, generation };
                        trace.unwound[count] = slots;
                        count += 1;
                        break End::Root;
                    }
                    Kind::Complex => return Err(Stop::Fallback(Fallback::ComplexFrame)),
                    Kind::Plain | Kind::Indirect | Kind::Sigreturn => {
                        // SAFETY: as above.
                        let step = unsafe { rule.step_elsewhere(&state) };
                        // It may lead to another stack.
                        high = end_of_stack(bounds, step.caller.sp);
                        step
                    }
                }
            };
            let Step { caller, pc_slot, fp_slot, cfa_slot } = step;
            if caller.sp & 7 != 0 {
                return Err(Stop::Implausible);
            }
            trace.unwound[count] = Unwound { state, rule, pc_slot, fp_slot, cfa_slot, generation };
            count += 1;
            state = caller;
            // The end of a stack that somebody made by hand: zero, or what lay there.
            if state.pc == 0 || state.pc >= USER_ADDRESSES {
                trace.unwound[count].state = state;
                break End::Root;
            }
        };
        trace.set_outside_root(outside_root);
        Ok((end, count))
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
            let Some(rule) = self.immortal_rule(&state, arena) else { break };
            let caller = match rule.kind() {
                Kind::Plain => {
                    // SAFETY: the walk's own states, and the rule of the pc.
                    let step = match unsafe { rule.step_below(&state, UNKNOWN_END) } {
                        Some(step) => Some(step),
                        // SAFETY: as above.
                        None => unsafe { rule.step_to_another_stack(&state, UNKNOWN_END) },
                    };
                    let Some(step) = step else { break };
                    step.caller
                }
                // SAFETY: as above.
                Kind::Indirect | Kind::Sigreturn => unsafe { rule.step_elsewhere(&state) }.caller,
                Kind::End => return false,
                Kind::Complex => break,
            };
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
    fn immortal_rule(&self, state: &FrameState, arena: &Arena) -> Option<Rule> {
        let key = RuleKey::new(state.pc, state.exact, 0);
        self.rules.find(key).or_else(|| {
            let address = call_address(state);
            let Location::Immortal(header) = self.modules.locate(address, arena) else { return None };
            let rule = compile(header, address);
            self.rules.insert(key, rule, arena);
            Some(rule)
        })
    }

    /// The rule of a frame that the table does not have, or that lies in volatile code.
    #[cold]
    #[inline(never)]
    fn rule_of(&self, state: &FrameState, trace: &mut Trace, arena: &Arena) -> Result<Known, Stop> {
        let address = call_address(state);
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
                    return if is_registered(address) {
                        Err(Stop::Fallback(Fallback::RegisteredCode))
                    } else {
                        Ok(Known::Outside)
                    };
                }
                Location::Unnumbered => return Err(Stop::Fallback(Fallback::TooManyModules)),
            },
        };
        let key = RuleKey::new(state.pc, state.exact, generation);
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
        !trace.rests_on_loader() || self.modules_hold(trace, from, arena)
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
            matches!(location, Location::Outside | Location::WithoutTables) && !is_registered(outside - 1)
        }
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
fn call_address(state: &FrameState) -> u64 {
    if state.exact { state.pc } else { state.pc.wrapping_sub(1) }
}

/// The rule of an instruction, from the tables of its module.
fn compile(header: EhFrameHeader, address: u64) -> Rule {
    match header.find(address) {
        Lookup::Found(fde) => cfi::compile(&fde, address),
        Lookup::Nothing => Rule::END,
        Lookup::Unreadable => Rule::COMPLEX,
    }
}

fn is_registered(address: u64) -> bool {
    let mut bases = [0; 3];
    // SAFETY: any address may be asked for; the structure of three pointers is filled when something is found.
    !unsafe { _Unwind_Find_FDE(core::ptr::without_provenance(address as usize), &raw mut bases) }.is_null()
}

impl ThreadUnwinder {
    /// What a new owner must not inherit: the old stack may be unmapped.
    pub(crate) fn reset(&mut self) {
        self.trace.clear();
        self.bounds = StackBounds::UNKNOWN;
        self.bounds_known = false;
    }
}
