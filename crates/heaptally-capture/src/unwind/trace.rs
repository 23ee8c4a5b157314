//! The stack that a thread captured last, kept so that the next capture unwinds only what has changed.
//!
//! Owned by a thread state and used in the hook by its owner while busy: plain memory. The proof that a reused part is
//! what unwinding would give, and every condition below by name (C1 to C4), is in `docs/capture.md`.
//!
//! ```text
//!  frames, root first:   [ start │ main │ serve │ parse │ the hook's own ]
//!    sp                     ▲ high                          ▲ low
//!  words, root first:    [ what the step main→start read │ serve→main │ … ]   address, value, step
//! ```
//!
//! A *step* leads from a frame to its caller and has the number of the frame. Words of steps up to `n` that still have
//! their values vouch for frames `0..=n`.

use super::modules::VolatileModule;
use super::rule::{FrameState, Rule};
use super::stack_bounds::StackBounds;
use super::stack_words::{BLOCK, StackWords, stack_word};
use crate::ring::{MAX_DEPTH, RecordedIp};
use crate::stack_hash::{HashKey, StackHash};

/// Recorded frames, and the hook's own.
pub(crate) const MAX_FRAMES: usize = MAX_DEPTH + 1;
/// A step reads three words at most: the return address, fp, and in rare frames the canonical frame address.
const MAX_WORDS: usize = (3 * MAX_FRAMES).next_multiple_of(BLOCK);
/// Volatile modules that a trace remembers.
const MAX_MODULES: usize = 8;

/// A frame of the trace.
#[derive(Clone, Copy)]
struct Frame {
    pc: u64,
    sp: u64,
    /// Meaningful where `fp_is_live`.
    fp: u64,
    /// Of the stack from the root to here.
    hash: StackHash,
    /// Words of the steps up to this frame's.
    word_end: u16,
    /// Of the module, 0 for an immortal one.
    generation: u16,
    exact: bool,
    /// Whether a step from here outwards uses fp before one reloads it.
    fp_is_live: bool,
}

/// The hook's frame of the trace, and how many words vouch for the rest.
#[derive(Clone, Copy)]
struct Whole {
    /// Words of all steps, in whole blocks.
    words: usize,
    /// 0, which is no leaf's, when the words may not be checked in one batch, or not without asking the loader.
    pc: u64,
    sp: u64,
    fp: u64,
    /// All ones where fp is live, zero elsewhere.
    fp_mask: u64,
    /// Where the offsets of the words count from: the low end of the thread's registered stack.
    base: u64,
}

/// A frame that this capture unwound, leaf first.
#[derive(Clone, Copy)]
pub(crate) struct Unwound {
    pub(crate) state: FrameState,
    /// The rule of the step to the caller.
    pub(crate) rule: Rule,
    /// The words that the step read, as in [`super::rule::Step`].
    pub(crate) pc_slot: u64,
    pub(crate) fp_slot: u64,
    pub(crate) cfa_slot: u64,
    pub(crate) generation: u16,
}

/// See the module's head. Zeroed memory is an empty trace.
#[repr(C)]
pub(crate) struct Trace {
    /// What a capture of the very same stack compares, and nothing else.
    whole: Whole,
    /// Frames in use. The innermost is the hook's own, which is not part of the stack that is recorded.
    len: usize,
    /// How many of them, from the root, lie on the thread's registered stack, with all words that their steps read at
    /// or above their sp: those may be checked in one batch, root first.
    on_stack: usize,
    /// Whether the stack went on beyond the root.
    truncated: bool,
    /// Some of the modules that may be unloaded and that frames lie in; none only if no frame lies in any.
    modules: [VolatileModule; MAX_MODULES],
    module_count: usize,
    /// An instruction pointer at the root that lay in no module, 0 for none: a module may come to lie there.
    outside_root: u64,
    frames: [Frame; MAX_FRAMES],
    words: StackWords<MAX_WORDS>,
    /// Addresses of all words, for those that do not lie on the registered stack.
    addresses: [u64; MAX_WORDS],
    /// The step that read each word.
    steps: [u16; MAX_WORDS],
    /// Scratch of the capture in progress: unwound frames, and the state that the walk has reached behind them.
    pub(crate) unwound: [Unwound; MAX_FRAMES + 1],
}

/// How much of the trace a capture may reuse.
#[derive(Clone, Copy)]
pub(crate) enum Reusable {
    /// All of it: the live state is that of the trace.
    Whole,
    /// The walk may join at frames below this one, whose words have all been checked.
    Checked(usize),
    /// The walk may join at frames below this one, if their words, checked in the order of a walk, are unchanged.
    InOrder(usize),
}

impl Trace {
    /// Whether `leaf` is the trace's own, and the shortcut may be taken.
    #[inline(always)]
    pub(crate) fn has_leaf(&self, leaf: &FrameState) -> bool {
        let whole = &self.whole;
        // Without words no leaf is at that pc.
        (leaf.pc ^ whole.pc) | (leaf.sp ^ whole.sp) | ((leaf.fp ^ whole.fp) & whole.fp_mask) == 0
    }

    pub(crate) fn leaf_pc(&self) -> u64 {
        self.whole.pc
    }

    /// Whether the rest of the stack is that of the trace, to the last word.
    ///
    /// # Safety
    ///
    /// [`Trace::has_leaf`] the calling thread's state, in a function that has not returned, and the trace is its own.
    #[inline(always)]
    pub(crate) unsafe fn is_unchanged(&self) -> bool {
        // SAFETY: as in `reusable`: the words lie on the thread's own stack, at or above the live sp.
        unsafe { self.words.all_unchanged(self.whole.base, self.whole.words) }
    }

    /// Forgets everything: the next capture unwinds to the root.
    pub(crate) fn clear(&mut self) {
        self.whole.pc = 0;
        self.len = 0;
        self.on_stack = 0;
        self.module_count = 0;
        self.outside_root = 0;
    }

    /// The volatile modules that frames lie in.
    pub(crate) fn modules(&self) -> &[VolatileModule] {
        self.modules.get(..self.module_count).unwrap_or(&[])
    }

    /// The generations of frames, from frame `from` or the innermost outwards.
    pub(crate) fn generations(&self, from: usize) -> impl Iterator<Item = u16> + '_ {
        self.frames[..self.len.min(from.saturating_add(1))].iter().rev().map(|frame| frame.generation)
    }

    pub(crate) fn outside_root(&self) -> u64 {
        self.outside_root
    }

    pub(crate) fn set_outside_root(&mut self, pc: u64) {
        self.outside_root = pc;
    }

    /// Adds a module to the list, in place of one that it overlaps, which is gone, or of some other when there is no
    /// room: one that is missing is looked up again.
    pub(crate) fn add_module(&mut self, module: VolatileModule) {
        let known = &mut self.modules[..self.module_count.min(MAX_MODULES)];
        if let Some(gone) = known.iter_mut().find(|known| known.start < module.end && module.start < known.end) {
            *gone = module;
        } else if self.module_count < MAX_MODULES {
            self.modules[self.module_count] = module;
            self.module_count += 1;
        } else {
            self.modules[usize::from(module.generation) % MAX_MODULES] = module;
        }
    }

    /// Whether unloading or loading modules may have changed what the trace rests on (C3).
    #[inline]
    pub(crate) fn rests_on_loader(&self) -> bool {
        self.module_count != 0 || self.outside_root != 0
    }

    pub(crate) fn truncated(&self) -> bool {
        self.truncated
    }

    /// Frames of the stack that is recorded.
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.len.saturating_sub(1)
    }

    /// Instruction pointers, leaf first, without the hook's own.
    pub(crate) fn leaf_first(&self) -> impl Iterator<Item = RecordedIp> + '_ {
        let recorded = |frame: &Frame| RecordedIp { ip: frame.pc, generation: frame.generation };
        self.frames[..self.depth()].iter().rev().map(recorded)
    }

    /// The hash of the stack that is recorded; of its root, when it has no frames.
    #[inline]
    pub(crate) fn hash(&self, key: &HashKey) -> StackHash {
        match self.frames[..self.depth()].last() {
            Some(leaf) => leaf.hash,
            None => key.root(self.truncated),
        }
    }

    /// What can be reused by a capture whose hook's frame is `leaf`.
    #[inline]
    pub(crate) fn reusable(&self, leaf: &FrameState, bounds: StackBounds) -> Reusable {
        if self.on_stack == 0 || !bounds.contains(leaf.sp) {
            return Reusable::InOrder(self.len);
        }
        // Frames below the live stack pointer are gone, and nothing below it may be read.
        let mut top = self.on_stack - 1;
        while self.frames[top].sp < leaf.sp {
            if top == 0 {
                return Reusable::Checked(0);
            }
            top -= 1;
        }
        let words = usize::from(self.frames[top].word_end);
        // SAFETY: the words of steps up to `top` lie on the thread's own stack, at or above the sp of a frame that is
        // at or above the live one: mapped, whatever became of the frames. Multiples of eight, as all slots.
        let unchanged = unsafe { self.words.unchanged(bounds.low, words) };
        if unchanged == words {
            if top + 1 == self.len && self.frames[top].is(leaf) {
                return Reusable::Whole;
            }
            return Reusable::Checked(top + 1);
        }
        Reusable::Checked(self.steps[unchanged].into())
    }

    /// The frame that the walk, having reached `state`, may join at; `limit` is moved on for the next try.
    #[inline]
    pub(crate) fn join(&self, state: &FrameState, limit: &mut Reusable) -> Option<usize> {
        match limit {
            Reusable::Checked(end) => {
                while *end > 0 && self.frames[*end - 1].sp < state.sp {
                    *end -= 1;
                }
                (*end > 0 && self.frames[*end - 1].is(state)).then(|| *end - 1)
            }
            Reusable::InOrder(end) => {
                let index = (0..*end).rev().find(|&index| self.frames[index].is(state))?;
                match self.changed_in_order(index) {
                    None => Some(index),
                    Some(step) => {
                        *end = step;
                        None
                    }
                }
            }
            Reusable::Whole => None,
        }
    }

    /// The first step, on the walk from frame `from` outwards, that would read something else today.
    ///
    /// Every address is read only after everything before it has been found unchanged: then a walk would read it too.
    #[cold]
    fn changed_in_order(&self, from: usize) -> Option<usize> {
        (0..=from).rev().find(|&step| {
            let begin = step.checked_sub(1).map_or(0, |outer| usize::from(self.frames[outer].word_end));
            (begin..usize::from(self.frames[step].word_end))
                // SAFETY: see above.
                .any(|word| unsafe { stack_word(self.addresses[word]) } != self.words.value(word))
        })
    }

    /// Puts the first `count` frames of `unwound` in place of what lay above frame `joined`, or of everything. The
    /// state behind them in `unwound` is where the walk ended.
    ///
    /// The walk ended at `joined`, or at the root, or was cut: then `truncated`.
    pub(crate) fn replace(
        &mut self,
        joined: Option<usize>,
        count: usize,
        truncated: bool,
        bounds: StackBounds,
        key: &HashKey,
    ) {
        let (mut len, mut words, mut hash, mut fp_is_live) = match joined {
            Some(index) => {
                let frame = &self.frames[index];
                (index + 1, usize::from(frame.word_end), frame.hash, frame.fp_is_live)
            }
            None => {
                self.truncated = truncated;
                self.keep_modules_of(count);
                (0, 0, key.root(truncated), false)
            }
        };
        let mut on_stack = self.on_stack.min(len);
        for index in (0..count).rev() {
            let Unwound { state, rule, pc_slot, fp_slot, cfa_slot, generation } = self.unwound[index];
            let caller = self.unwound[index + 1].state;
            let is_cut = truncated && index + 1 == count;
            let mut is_on_stack = on_stack == len && bounds.contains(state.sp);
            // The root that was cut off claims nothing about its own caller.
            if pc_slot != 0 && !is_cut {
                let mut word = |address: u64, value: u64| {
                    self.words.set(words, address.wrapping_sub(bounds.low), value);
                    self.addresses[words] = address;
                    self.steps[words] = len as u16;
                    words += 1;
                    is_on_stack &= state.sp <= address && address < bounds.high;
                };
                if cfa_slot != 0 {
                    // SAFETY: the walk has just read it.
                    word(cfa_slot, unsafe { stack_word(cfa_slot) });
                }
                word(pc_slot, caller.pc);
                if fp_slot != 0 && fp_is_live {
                    word(fp_slot, caller.fp);
                }
            }
            fp_is_live = rule.uses_fp() || rule.keeps_fp() && fp_is_live;
            if index != 0 {
                hash = hash.push(RecordedIp { ip: state.pc, generation });
            }
            if is_on_stack && len.checked_sub(1).is_none_or(|outer| state.sp < self.frames[outer].sp) {
                on_stack = len + 1;
            }
            self.frames[len] = Frame {
                pc: state.pc,
                sp: state.sp,
                fp: state.fp,
                hash,
                word_end: words as u16,
                generation,
                exact: state.exact,
                fp_is_live,
            };
            len += 1;
        }
        self.len = len;
        self.on_stack = on_stack;
        self.whole.pc = 0;
    }

    /// Lets [`Trace::is_unchanged`] say yes, if the trace is of the kind that it can tell.
    #[inline]
    pub(crate) fn allow_shortcut(&mut self, bounds: StackBounds) {
        let Some(leaf) = self.frames[..self.len].last() else { return };
        let words = usize::from(leaf.word_end);
        if self.on_stack != self.len || self.rests_on_loader() || words == 0 {
            return;
        }
        let blocks = self.words.fill_block(words);
        self.whole = Whole {
            words: blocks,
            pc: if blocks == 0 { 0 } else { leaf.pc },
            sp: leaf.sp,
            fp: leaf.fp,
            fp_mask: if leaf.fp_is_live { u64::MAX } else { 0 },
            base: bounds.low,
        };
    }

    /// Drops modules that no unwound frame lies in.
    fn keep_modules_of(&mut self, count: usize) {
        let mut kept = 0;
        for index in 0..self.module_count {
            let module = self.modules[index];
            if self.unwound[..count].iter().any(|frame| frame.generation == module.generation) {
                self.modules[kept] = module;
                kept += 1;
            }
        }
        self.module_count = kept;
    }
}

impl Frame {
    /// Whether a walk that has reached `state` would go on as from here (C1).
    #[inline]
    fn is(&self, state: &FrameState) -> bool {
        self.sp == state.sp
            && self.pc == state.pc
            && self.exact == state.exact
            && (!self.fp_is_live || self.fp == state.fp)
    }
}
