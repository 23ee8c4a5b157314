//! The stack that a thread captured last, kept so that the next capture unwinds only what has changed.
//!
//! Owned by a thread state and used in the hook by its owner while busy: plain memory. The proof that a reused part is
//! what unwinding would give, and every condition below by name (C1 to C4), is in `docs/capture.md`.
//!
//! ```text
//!  frames, root first:   [ start │ main │ serve │ parse │ the hook's own ]
//!    sp                     ▲ high                          ▲ low
//!  words, root first:    [ what the step main→start read │ serve→main │ … ]   address, value
//! ```
//!
//! A *step* leads from a frame to its caller and has the number of the frame. Words of steps up to `n` that still have
//! their values vouch for frames `0..=n`.

use super::modules::VolatileModule;
use super::rule::{FrameState, Rule};
use super::segments::{Segments, slot_of};
use super::stack_bounds::StackBounds;
use super::stack_words::{BLOCK, StackWords, stack_word};
use crate::charge::Charge;
use crate::fault::{self, Fault};
use crate::ring::{MAX_DEPTH, RecordBase, RecordedIp};
use crate::stack_hash::{HashKey, StackHash};
use crate::stack_id::StackId;

/// Recorded frames, and the hook's own.
pub(crate) const MAX_FRAMES: usize = MAX_DEPTH + 1;
/// A step reads three words at most: the return address, fp, and in rare frames the canonical frame address.
const MAX_WORDS: usize = (3 * MAX_FRAMES).next_multiple_of(BLOCK);
/// Volatile modules that a trace remembers.
const MAX_MODULES: usize = 8;

/// Every which record of a thread says all frames of its stack.
const RECORDED_IN_FULL: u32 = 64;

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

/// What a capture of the very same stack compares, and nothing else.
#[derive(Clone, Copy)]
struct Whole {
    /// The hook's frame of the trace. 0, which is no frame's, when the shortcut may not be taken: when words lie elsewhere
    /// than on the registered stack, or the loader has to be asked.
    pc: u64,
    sp: u64,
    fp: u64,
    /// All ones where fp is live, zero elsewhere.
    fp_mask: u64,
    /// The return address out of the hook's frame, and where it lies, above `sp`.
    return_address: u64,
    return_offset: u64,
    /// Words of all steps, in whole blocks.
    words: usize,
    charge: Charge,
}

/// A frame that this capture unwound.
#[derive(Clone, Copy)]
pub(crate) struct Unwound {
    /// With the generation of its module in the upper bits.
    pc: u64,
    /// With `exact` in the lowest bit: stack pointers are multiples of eight.
    sp: u64,
    fp: u64,
    /// The rule of the step to the caller.
    rule: Rule,
}

impl Unwound {
    #[inline]
    pub(crate) fn new(state: FrameState, rule: Rule, generation: u16) -> Self {
        let pc = RecordedIp { ip: state.pc, generation }.word();
        Self { pc, sp: state.sp | u64::from(state.exact), fp: state.fp, rule }
    }

    #[inline]
    fn recorded(&self) -> RecordedIp {
        RecordedIp::from(self.pc)
    }

    #[inline]
    fn state(&self) -> FrameState {
        FrameState { pc: self.recorded().ip, sp: self.sp & !1, fp: self.fp, exact: self.sp & 1 != 0 }
    }
}

/// See the module's head. Zeroed memory is an empty trace.
#[repr(C)]
pub(crate) struct Trace {
    whole: Whole,
    /// Where the offsets of words count from: the low end of the thread's registered stack.
    base: u64,
    /// Of the owner, never 0: what segments of other owners are told by.
    epoch: u64,
    /// Frames in use. The innermost is the hook's own, which is not part of the stack that is recorded.
    len: usize,
    /// How many of them, from the root, lie on the thread's registered stack, with all words that their steps read at
    /// or above their sp: those may be checked in one batch, root first.
    on_stack: usize,
    /// The frame that the last capture joined; `usize::MAX` for none.
    joined: usize,
    /// Which of the two slots takes the next segment.
    next_segment: usize,
    /// The stack that the thread recorded last, and how many of its outermost frames are still those of the trace.
    recorded: StackId,
    recorded_depth: usize,
    still_recorded: usize,
    /// Stacks recorded so far.
    recorded_count: u32,
    /// Whether the stack went on beyond the root.
    truncated: bool,
    /// Some of the modules that may be unloaded and that frames lie in; none only if no frame lies in any.
    modules: [VolatileModule; MAX_MODULES],
    module_count: usize,
    /// An instruction pointer at the root that lay in no module, 0 for none: a module may come to lie there.
    outside_root: u64,
    words: StackWords<MAX_WORDS>,
    frames: [Frame; MAX_FRAMES],
    segments: Segments,
    /// Addresses of words of frames that are not `on_stack`.
    addresses: [u64; MAX_WORDS],
    /// Scratch of the capture in progress: unwound frames, leaf first.
    pub(crate) unwound: [Unwound; MAX_FRAMES],
}

/// Where a walk may join the trace.
#[derive(Clone, Copy)]
pub(crate) enum Joinable {
    /// At frames below this one, whose words may be checked in one batch.
    InBatch(usize),
    /// At frames below this one, whose words have been checked.
    Checked(usize),
    /// At frames below this one, if their words, checked in the order of a walk, are unchanged.
    InOrder(usize),
}

impl Joinable {
    /// Nowhere.
    pub(crate) const NOWHERE: Self = Self::Checked(0);
}

impl Trace {
    /// What to charge if the stack is one that the thread has captured lately, to the last word. `None` says nothing.
    ///
    /// # Safety
    ///
    /// `leaf` is the calling thread's state in a function that has not returned, and the trace its own.
    #[inline]
    pub(crate) unsafe fn find_unchanged(&self, leaf: FrameState) -> Option<&Charge> {
        let whole = &self.whole;
        if leaf.pc != whole.pc {
            return None;
        }
        // Everything read below lies on the thread's own stack, at or above the live sp: the words of a stack whose
        // innermost sp is the live one, and those of frames further out.
        // SAFETY: a frame of the hook's code has its return address at the same place above its sp every time.
        let return_address = unsafe { stack_word(leaf.sp.wrapping_add(whole.return_offset)) };
        let differs =
            (leaf.sp ^ whole.sp) | ((leaf.fp ^ whole.fp) & whole.fp_mask) | (return_address ^ whole.return_address);
        // SAFETY: see above.
        if differs == 0 && unsafe { self.words.all_unchanged(self.base, whole.words) } {
            return Some(&whole.charge);
        }
        let slot = slot_of(return_address, leaf.sp);
        let mut segment = &self.segments[slot];
        if !segment.begins_at(self.epoch, leaf, return_address) {
            segment = &self.segments[slot + 1];
            if !segment.begins_at(self.epoch, leaf, return_address) {
                return None;
            }
        }
        if segment.join >= self.on_stack {
            return None;
        }
        let joined = self.frames.get(segment.join)?;
        let same_join = joined.sp == segment.join_sp
            && joined.hash == segment.join_hash
            && joined.exact == segment.join_exact
            && (!joined.fp_is_live || joined.fp == segment.join_fp);
        // Those of today, to the last: equal stacks may have lain at other places, to which the words then do not lead.
        let outer_words = usize::from(joined.word_end);
        // SAFETY: see above. The frame that is joined lies further out than the live one, as it did then.
        unsafe {
            (same_join
                && segment.words.all_unchanged(self.base, segment.len_words)
                && self.words.are_unchanged(self.base, outer_words))
            .then_some(&segment.charge)
        }
    }

    /// Forgets everything: the next capture unwinds to the root.
    pub(crate) fn clear(&mut self) {
        self.whole.pc = 0;
        self.len = 0;
        self.on_stack = 0;
        self.still_recorded = 0;
        self.module_count = 0;
        self.outside_root = 0;
    }

    /// Forgets everything, the segments too: the thread has another stack.
    pub(crate) fn reset(&mut self) {
        self.clear();
        self.epoch += 1;
    }

    /// The volatile modules that frames lie in.
    pub(crate) fn modules(&self) -> &[VolatileModule] {
        self.modules.get(..self.module_count).unwrap_or(&[])
    }

    /// The generations of frames, from frame `from` outwards.
    pub(crate) fn generations(&self, from: usize) -> impl Iterator<Item = u16> + '_ {
        self.frames[..self.len.min(from + 1)].iter().rev().map(|frame| frame.generation)
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

    /// What a record of the stack can begin with, and how many frames lie beyond that.
    pub(crate) fn beyond_recorded(&self) -> (Option<RecordBase>, usize) {
        // A stack that finds no memory in the store takes those with it that begin with it; not all that ever come.
        let in_full = self.recorded_count.is_multiple_of(RECORDED_IN_FULL);
        let shared = if in_full { 0 } else { self.still_recorded.min(self.recorded_depth) };
        let drop = (self.recorded_depth - shared) as u16;
        let base = (shared > 0).then_some(RecordBase { id: self.recorded, drop });
        (base, self.depth() - shared)
    }

    /// Notes that the stack was recorded as `id` by the thread that owns the trace.
    pub(crate) fn set_recorded(&mut self, id: StackId) {
        self.recorded_count = self.recorded_count.wrapping_add(1);
        self.recorded = id;
        self.recorded_depth = self.depth();
        self.still_recorded = self.depth();
    }

    /// The hash of the stack that is recorded; of its root, when it has no frames.
    #[inline]
    pub(crate) fn hash(&self, key: &HashKey) -> StackHash {
        match self.frames[..self.depth()].last() {
            Some(leaf) => leaf.hash,
            None => key.root(self.truncated),
        }
    }

    /// Where a walk that begins at this stack pointer may join.
    #[inline]
    pub(crate) fn joinable(&self, sp: u64, bounds: StackBounds) -> Joinable {
        if self.on_stack != 0 && bounds.contains(sp) {
            Joinable::InBatch(self.on_stack)
        } else {
            Joinable::InOrder(self.len)
        }
    }

    /// The frame that the walk, having reached `state`, joins; `joinable` is moved on for the next try.
    #[inline]
    pub(crate) fn join(&self, state: FrameState, joinable: &mut Joinable) -> Option<usize> {
        match joinable {
            Joinable::InBatch(end) | Joinable::Checked(end) => {
                // Frames below the state's sp are gone.
                while *end > 0 && self.frames[*end - 1].sp < state.sp {
                    *end -= 1;
                }
                let index = end.checked_sub(1)?;
                if !self.frames[index].is(state) {
                    return None;
                }
                let Joinable::InBatch(_) = *joinable else { return Some(index) };
                let words = usize::from(self.frames[index].word_end);
                // SAFETY: words of steps of frames that lie on the thread's own stack, at or above the sp of one that is
                // at or above the live one: mapped, whatever became of the frames. Multiples of eight, as all slots.
                let unchanged = unsafe { self.words.unchanged(self.base, words) };
                if unchanged == words || fault::is_planted(Fault::WordsNotCompared) {
                    return Some(index);
                }
                *joinable = Joinable::Checked(self.frames_within(unchanged, index));
                None
            }
            Joinable::InOrder(end) => self.join_in_order(state, end),
        }
    }

    #[cold]
    fn join_in_order(&self, state: FrameState, end: &mut usize) -> Option<usize> {
        let index = (0..*end).rev().find(|&index| self.frames[index].is(state))?;
        match self.changed_in_order(index) {
            None => Some(index),
            Some(step) => {
                *end = step;
                None
            }
        }
    }

    /// How many frames, `most` at most, have words among the first `words` only.
    #[cold]
    fn frames_within(&self, words: usize, most: usize) -> usize {
        let beyond = |frame: &&Frame| usize::from(frame.word_end) > words;
        most - self.frames[..most].iter().rev().take_while(beyond).count()
    }

    /// The first step, on the walk from frame `from` outwards, that would read something else today.
    ///
    /// Every address is read only after everything before it has been found unchanged: then a walk would read it too.
    #[cold]
    fn changed_in_order(&self, from: usize) -> Option<usize> {
        (0..=from).rev().find(|&step| {
            let begin = step.checked_sub(1).map_or(0, |outer| usize::from(self.frames[outer].word_end));
            (begin..usize::from(self.frames[step].word_end)).any(|word| {
                let address =
                    if step < self.on_stack { self.base + self.words.offset(word) } else { self.addresses[word] };
                // SAFETY: see above.
                unsafe { stack_word(address) != self.words.value(word) }
            })
        })
    }

    /// Puts the first `count` frames of `unwound` in place of what lay above frame `joined`, or of everything.
    ///
    /// The walk ended in the state `end`: at `joined`, or at the root, or where it was cut: then `truncated`.
    pub(crate) fn replace(
        &mut self,
        joined: Option<usize>,
        count: usize,
        end: &FrameState,
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
                self.base = bounds.low;
                self.keep_modules_of(count);
                (0, 0, key.root(truncated), false)
            }
        };
        let mut on_stack = self.on_stack.min(len);
        let mut caller = *end;
        for index in (0..count).rev() {
            let unwound = &self.unwound[index];
            let (state, rule, recorded) = (unwound.state(), unwound.rule, unwound.recorded());
            // A root that was cut off claims nothing about its own caller.
            let is_cut = joined.is_none() && truncated && index + 1 == count;
            // SAFETY: the walk has just made this step.
            let slots = if is_cut { None } else { unsafe { rule.slots(state, caller) } };
            let is_on_stack = on_stack == len
                && bounds.contains(state.sp)
                && (len == 0 || state.sp < self.frames[len - 1].sp)
                && slots.is_none_or(|slots| slots.lie_within(state.sp, bounds.high));
            if let Some(slots) = slots {
                let mut word = |address: u64, value: u64| {
                    self.words.set(words, address.wrapping_sub(self.base), value);
                    if !is_on_stack {
                        self.addresses[words] = address;
                    }
                    words += 1;
                };
                if slots.cfa != 0 {
                    // SAFETY: as above.
                    word(slots.cfa, unsafe { stack_word(slots.cfa) });
                }
                word(slots.pc, caller.pc);
                if slots.fp != 0 && fp_is_live {
                    word(slots.fp, caller.fp);
                }
            }
            fp_is_live = rule.uses_fp() || rule.keeps_fp() && fp_is_live;
            if index != 0 {
                hash = hash.push(recorded);
            }
            self.frames[len] = Frame {
                pc: state.pc,
                sp: state.sp,
                fp: state.fp,
                hash,
                word_end: words as u16,
                generation: recorded.generation,
                exact: state.exact,
                fp_is_live,
            };
            len += 1;
            if is_on_stack {
                on_stack = len;
            }
            caller = state;
        }
        self.len = len;
        self.on_stack = on_stack;
        self.joined = joined.unwrap_or(usize::MAX);
        self.still_recorded = self.still_recorded.min(joined.map_or(0, |joined| joined + 1));
        self.whole.pc = 0;
        self.whole.charge = Charge::NONE;
    }

    /// What the stack of the trace is counted under; none before that was said.
    pub(crate) fn charge(&self) -> Charge {
        self.whole.charge
    }

    /// Says what the stack of the trace is counted under.
    #[inline]
    pub(crate) fn set_charge(&mut self, charge: Charge) {
        self.whole.charge = charge;
    }

    /// Lets [`Trace::find_unchanged`] find the stack of the trace, if it is of the kind that it can tell.
    #[inline]
    pub(crate) fn remember(&mut self) {
        let Some(caller) = self.len.checked_sub(2) else { return };
        if self.on_stack != self.len || self.rests_on_loader() {
            return;
        }
        let leaf = self.frames[caller + 1];
        let first = usize::from(self.frames[caller].word_end);
        let words = usize::from(leaf.word_end);
        let blocks = self.words.fill_block(words);
        if blocks == 0 || first == words {
            return;
        }
        let return_address = self.words.value(first);
        let charge = self.whole.charge;
        self.whole = Whole {
            pc: leaf.pc,
            sp: leaf.sp,
            fp: leaf.fp,
            fp_mask: if leaf.fp_is_live { u64::MAX } else { 0 },
            return_address,
            return_offset: (self.base + self.words.offset(first)).wrapping_sub(leaf.sp),
            words: blocks,
            charge,
        };
        if self.joined < caller {
            self.remember_segment(words);
        }
    }

    /// Keeps the part of the trace that its last capture unwound, if it is small enough.
    #[inline]
    fn remember_segment(&mut self, words: usize) {
        let (whole, joined) = (&self.whole, &self.frames[self.joined]);
        let outer_words = usize::from(joined.word_end);
        let slot = slot_of(whole.return_address, whole.sp);
        // The place of the same segment, if there is one; otherwise the two take turns.
        let leaf = FrameState { pc: whole.pc, sp: whole.sp, fp: whole.fp, exact: true };
        let is_here = |slot: usize| self.segments[slot].begins_at(self.epoch, leaf, whole.return_address);
        let slot = if is_here(slot) {
            slot
        } else if is_here(slot + 1) {
            slot + 1
        } else {
            self.next_segment ^= 1;
            slot + self.next_segment
        };
        let segment = &mut self.segments[slot];
        let Some(len_words) = segment.words.copy(&self.words, outer_words..words) else { return };
        segment.epoch = self.epoch;
        segment.pc = whole.pc;
        segment.sp = whole.sp;
        segment.fp = whole.fp;
        segment.fp_mask = whole.fp_mask;
        segment.return_address = whole.return_address;
        segment.join = self.joined;
        segment.join_sp = joined.sp;
        segment.join_fp = joined.fp;
        segment.join_exact = joined.exact;
        segment.join_hash = joined.hash;
        segment.len_words = len_words;
        segment.charge = whole.charge;
    }

    /// Drops modules that no unwound frame lies in.
    fn keep_modules_of(&mut self, count: usize) {
        let mut kept = 0;
        for index in 0..self.module_count {
            let module = self.modules[index];
            if self.unwound[..count].iter().any(|frame| frame.recorded().generation == module.generation) {
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
    fn is(&self, state: FrameState) -> bool {
        self.sp == state.sp
            && self.pc == state.pc
            && self.exact == state.exact
            && (!self.fp_is_live || self.fp == state.fp || fault::is_planted(Fault::FramePointerNotCompared))
    }
}
