//! How to get from a frame to its caller: one word per instruction pointer.
//!
//! Compiled once per call site by `cfi`, kept in the rule table, applied in the hook. A rule names words of the stack
//! relative to the frame's stack pointer (sp) and frame pointer register (fp, `rbp`), and reads nothing else.
//!
//! ```text
//!  PLAIN      cfa = (sp | fp) + k        pc' = [cfa - 8]      fp' = fp | [cfa + b] | [fp + b]      sp' = cfa
//!  INDIRECT   cfa = [(sp | fp) + k] + d  pc' = [cfa + r]      fp' as above                         sp' = cfa
//!  SIGRETURN  cfa = [sp + k]             pc' = [sp + r]       fp' = [sp + b]                       sp' = cfa
//!  END        the outermost frame
//!  COMPLEX    reads something else: the platform's unwinder must take the whole stack
//!
//!  bits       63            32 31         8  7        6..5  4     3      2..0
//!  PLAIN    [ b, bytes: 32     │ k/8: 24   │  exact'  │ fp' │ base │  –   │ kind ]
//!  others   [ b/8: 12 │ r/8: 8 │ d/8: 12 │ k/8: 12    │  exact' …         │ kind ]
//! ```
//!
//! The forms are those that compilers and C libraries use: PLAIN is every call site of 97,000 in cargo, SQLite and
//! glibc; INDIRECT are realigned stacks and coroutine switches; SIGRETURN is the kernel's signal frame.

use super::stack_words::stack_word;

/// Where a thread stands in one of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameState {
    /// Instruction pointer: the leaf's own, or the return address into the frame.
    pub(crate) pc: u64,
    /// Stack pointer in the frame.
    pub(crate) sp: u64,
    /// The frame pointer register in the frame, whatever the code uses it for.
    pub(crate) fp: u64,
    /// Whether `pc` is the next instruction itself (the leaf, or interrupted by a signal), not what a call returns to.
    pub(crate) exact: bool,
}

/// See the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule(u64);

/// What a rule does, apart from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Kind {
    Plain = 1,
    Indirect = 2,
    Sigreturn = 3,
    End = 4,
    Complex = 5,
}

/// The register that an address is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    StackPointer,
    FramePointer,
}

/// Where the caller's frame pointer register is. Offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerFp {
    /// In the register still.
    Same,
    /// Saved at an offset from the canonical frame address.
    AtCfa(i64),
    /// Saved at an offset from this frame's own frame pointer.
    AtFp(i64),
}

/// The end of a stack of which nothing is known: that of all addresses that a program has.
pub(crate) const UNKNOWN_END: u64 = super::USER_ADDRESSES;
/// Nothing is mapped below it (`vm.mmap_min_addr`).
const LOWEST_ADDRESS: u64 = 1 << 16;

const KIND_MASK: u64 = 7;
const BASE_FP: u64 = 1 << 4;
const FP_SHIFT: u32 = 5;
const FP_MASK: u64 = 3 << FP_SHIFT;
const FP_AT_CFA: u64 = 1 << FP_SHIFT;
const FP_AT_FP: u64 = 2 << FP_SHIFT;
const CALLER_EXACT: u64 = 1 << 7;

impl Rule {
    pub(crate) const END: Self = Self(Kind::End as u64);
    pub(crate) const COMPLEX: Self = Self(Kind::Complex as u64);

    /// PLAIN; COMPLEX when an offset does not fit.
    pub(crate) fn plain(base: Base, k: i64, fp: CallerFp) -> Self {
        let Some(k) = units(k, 24) else { return Self::COMPLEX };
        let (fp_bits, b) = match fp {
            CallerFp::Same => (0, 0),
            CallerFp::AtCfa(b) => (FP_AT_CFA, b),
            CallerFp::AtFp(b) => (FP_AT_FP, b),
        };
        let Ok(b) = i32::try_from(b) else { return Self::COMPLEX };
        Self(Kind::Plain as u64 | base.bits() | fp_bits | k << 8 | u64::from(b as u32) << 32)
    }

    /// INDIRECT; COMPLEX when an offset does not fit.
    pub(crate) fn indirect(base: Base, k: i64, d: i64, r: i64, fp: CallerFp) -> Self {
        let (fp_bits, b) = match fp {
            CallerFp::Same => (0, 0),
            CallerFp::AtCfa(b) => (FP_AT_CFA, b),
            CallerFp::AtFp(b) => (FP_AT_FP, b),
        };
        match (units(k, 12), units(d, 12), units(r, 8), units(b, 12)) {
            (Some(k), Some(d), Some(r), Some(b)) => {
                Self(Kind::Indirect as u64 | base.bits() | fp_bits | k << 8 | d << 20 | r << 32 | b << 40)
            }
            _ => Self::COMPLEX,
        }
    }

    /// SIGRETURN, from offsets to sp; COMPLEX when one does not fit.
    pub(crate) fn sigreturn(cfa: i64, pc: i64, fp: i64) -> Self {
        match (units(cfa, 12), units(pc, 8), units(fp, 12)) {
            (Some(k), Some(r), Some(b)) => Self(Kind::Sigreturn as u64 | k << 8 | r << 32 | b << 40),
            _ => Self::COMPLEX,
        }
    }

    /// The same rule in a signal frame: the caller's `pc` is the interrupted instruction itself.
    pub(crate) fn with_exact_caller(self) -> Self {
        Self(self.0 | CALLER_EXACT)
    }

    /// As it is kept in the table; never 0.
    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// What [`Rule::word`] gave.
    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline]
    pub(crate) fn kind(self) -> Kind {
        match self.0 & KIND_MASK {
            1 => Kind::Plain,
            2 => Kind::Indirect,
            3 => Kind::Sigreturn,
            4 => Kind::End,
            _ => Kind::Complex,
        }
    }

    /// Whether the step depends on fp itself, not only hands it on.
    #[inline]
    pub(crate) fn uses_fp(self) -> bool {
        self.0 & (BASE_FP | FP_AT_FP) != 0
    }

    /// Whether the caller's fp is this frame's.
    #[inline]
    pub(crate) fn keeps_fp(self) -> bool {
        self.0 & FP_MASK == 0 && self.kind() != Kind::Sigreturn
    }

    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.0 & KIND_MASK == Kind::Plain as u64
    }

    /// The caller's state by a PLAIN rule; `None` when its frame would not lie above this one and below `high`, as on one
    /// stack it does.
    ///
    /// # Safety
    ///
    /// `frame` is a frame of the calling thread's live stack, or was found to be by rules and reads, and this is the
    /// rule of its `pc`: then the words it names are mapped.
    #[inline]
    pub(crate) unsafe fn step_below(self, frame: FrameState, high: u64) -> Option<FrameState> {
        let cfa = self.plain_cfa(frame);
        if cfa <= frame.sp || cfa > high {
            return None;
        }
        // SAFETY: the caller's promise.
        Some(unsafe { self.plain_step(frame, cfa) })
    }

    /// The caller's state by a PLAIN rule that [`Rule::step_below`] refuses, if it may lie on another stack: by the frame
    /// pointer, where a library has switched stacks. From a stack that nothing is known of every rule may lead there,
    /// from the thread's own only one that says that it is special, as the trampolines of coroutines do.
    ///
    /// # Safety
    ///
    /// As for [`Rule::step_below`].
    #[cold]
    pub(crate) unsafe fn step_to_another_stack(self, frame: FrameState, high: u64) -> Option<FrameState> {
        let cfa = self.plain_cfa(frame);
        let may_lead_there = self.0 & BASE_FP != 0 && (high == UNKNOWN_END || self.0 & CALLER_EXACT != 0);
        // SAFETY: the caller's promise.
        (may_lead_there && (LOWEST_ADDRESS..UNKNOWN_END).contains(&cfa)).then(|| unsafe { self.plain_step(frame, cfa) })
    }

    #[inline]
    fn plain_cfa(self, frame: FrameState) -> u64 {
        self.base(frame).wrapping_add_signed(i64::from((self.0 as i32 >> 5) & !7))
    }

    /// # Safety
    ///
    /// As for [`Rule::step_below`].
    #[inline]
    unsafe fn plain_step(self, frame: FrameState, cfa: u64) -> FrameState {
        let fp_slot = self.plain_fp_slot(frame, cfa);
        // SAFETY: the caller's promise.
        let (pc, fp) =
            unsafe { (stack_word(cfa.wrapping_sub(8)), if fp_slot == 0 { frame.fp } else { stack_word(fp_slot) }) };
        FrameState { pc, sp: cfa, fp, exact: self.0 & CALLER_EXACT != 0 }
    }

    /// The caller's state by an INDIRECT or SIGRETURN rule, which may lie on another stack.
    ///
    /// # Safety
    ///
    /// As for [`Rule::step_below`].
    #[cold]
    pub(crate) unsafe fn step_elsewhere(self, frame: FrameState) -> FrameState {
        // SAFETY: the caller's promise, for all reads.
        unsafe {
            let (slots, cfa) = self.slots_elsewhere(frame);
            let fp = if slots.fp == 0 { frame.fp } else { stack_word(slots.fp) };
            FrameState { pc: stack_word(slots.pc), sp: cfa, fp, exact: self.0 & CALLER_EXACT != 0 }
        }
    }

    /// The caller's state by any rule, on a stack of which nothing is known; `None` for a rule without a step, and for
    /// one that leads where no stack is.
    ///
    /// # Safety
    ///
    /// As for [`Rule::step_below`].
    #[cold]
    pub(crate) unsafe fn step_anywhere(self, frame: FrameState) -> Option<FrameState> {
        match self.kind() {
            Kind::Plain => {
                // SAFETY: the caller's promise.
                let below = unsafe { self.step_below(frame, UNKNOWN_END) };
                // SAFETY: as above.
                below.or_else(|| unsafe { self.step_to_another_stack(frame, UNKNOWN_END) })
            }
            // SAFETY: as above.
            Kind::Indirect | Kind::Sigreturn => Some(unsafe { self.step_elsewhere(frame) }),
            Kind::End | Kind::Complex => None,
        }
    }

    /// The words that the step from `frame` to `caller` read; `None` for a rule without a step.
    ///
    /// # Safety
    ///
    /// The step was just made.
    #[inline]
    pub(crate) unsafe fn slots(self, frame: FrameState, caller: FrameState) -> Option<Slots> {
        match self.kind() {
            Kind::Plain => {
                Some(Slots { cfa: 0, pc: caller.sp.wrapping_sub(8), fp: self.plain_fp_slot(frame, caller.sp) })
            }
            // SAFETY: the caller's.
            Kind::Indirect | Kind::Sigreturn => Some(unsafe { self.slots_elsewhere(frame) }.0),
            Kind::End | Kind::Complex => None,
        }
    }

    /// The words that an INDIRECT or SIGRETURN rule reads, and the canonical frame address.
    ///
    /// # Safety
    ///
    /// As for [`Rule::step_below`].
    #[cold]
    unsafe fn slots_elsewhere(self, frame: FrameState) -> (Slots, u64) {
        let (k, d, r, b) = (self.field(8, 12), self.field(20, 12), self.field(32, 8), self.field(40, 12));
        if self.kind() == Kind::Sigreturn {
            let at_sp = |offset| frame.sp.wrapping_add_signed(offset);
            // SAFETY: the caller's.
            return (Slots { cfa: at_sp(k), pc: at_sp(r), fp: at_sp(b) }, unsafe { stack_word(at_sp(k)) });
        }
        let cfa_slot = self.base(frame).wrapping_add_signed(k);
        // SAFETY: the caller's.
        let cfa = unsafe { stack_word(cfa_slot) }.wrapping_add_signed(d);
        (Slots { cfa: cfa_slot, pc: cfa.wrapping_add_signed(r), fp: self.fp_slot(frame, cfa, b) }, cfa)
    }

    #[inline]
    fn plain_fp_slot(self, frame: FrameState, cfa: u64) -> u64 {
        self.fp_slot(frame, cfa, self.0 as i64 >> 32)
    }

    #[inline]
    fn base(self, frame: FrameState) -> u64 {
        if self.0 & BASE_FP != 0 { frame.fp } else { frame.sp }
    }

    /// The address of the saved fp, 0 when it is in the register still.
    #[inline]
    fn fp_slot(self, frame: FrameState, cfa: u64, b: i64) -> u64 {
        match self.0 & FP_MASK {
            0 => 0,
            FP_AT_CFA => cfa.wrapping_add_signed(b),
            _ => frame.fp.wrapping_add_signed(b),
        }
    }

    /// A signed field of `bits` bits in units of eight bytes, in bytes.
    fn field(self, shift: u32, bits: u32) -> i64 {
        (self.0 << (u64::BITS - shift - bits)) as i64 >> (u64::BITS - bits) << 3
    }
}

/// Addresses of the words that a step reads; 0 for those that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    /// Where the canonical frame address comes from.
    pub(crate) cfa: u64,
    /// Where the caller's `pc` is.
    pub(crate) pc: u64,
    /// Where the caller's fp is.
    pub(crate) fp: u64,
}

impl Slots {
    /// Whether all of them lie from `low` on and below `high`.
    #[inline]
    pub(crate) fn lie_within(&self, low: u64, high: u64) -> bool {
        let within = |slot| low <= slot && slot < high;
        within(self.pc) && (self.fp == 0 || within(self.fp)) && (self.cfa == 0 || within(self.cfa))
    }
}

impl Base {
    fn bits(self) -> u64 {
        match self {
            Self::StackPointer => 0,
            Self::FramePointer => BASE_FP,
        }
    }
}

/// `offset` in units of eight bytes as an unsigned field of `bits` bits; `None` when it does not fit or is no
/// multiple.
fn units(offset: i64, bits: u32) -> Option<u64> {
    let limit = 1_i64 << (bits - 1);
    let units = offset >> 3;
    (offset & 7 == 0 && (-limit..limit).contains(&units)).then_some(units as u64 & ((1 << bits) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack of nine words; `at(n)` is the address of the n-th.
    struct Stack([u64; 9]);

    impl Stack {
        fn at(&self, index: usize) -> u64 {
            (&raw const self.0[index]).addr() as u64
        }
    }

    fn step(rule: Rule, frame: FrameState) -> (FrameState, Slots) {
        // SAFETY: the tests' rules read words of their `Stack`.
        unsafe {
            let caller =
                if rule.is_plain() { rule.step_below(frame, UNKNOWN_END).unwrap() } else { rule.step_elsewhere(frame) };
            (caller, rule.slots(frame, caller).unwrap())
        }
    }

    fn leaf(sp: u64, fp: u64) -> FrameState {
        FrameState { pc: 0x1000, sp, fp, exact: true }
    }

    #[test]
    fn a_plain_frame_without_saved_fp_keeps_it() {
        let stack = Stack([1, 2, 3, 0x2000, 5, 6, 7, 8, 9]);
        let rule = Rule::plain(Base::StackPointer, 32, CallerFp::Same);
        let made = step(rule, leaf(stack.at(0), 77));
        assert_eq!(made.0, FrameState { pc: 0x2000, sp: stack.at(4), fp: 77, exact: false });
        assert_eq!(made.1, Slots { cfa: 0, pc: stack.at(3), fp: 0 });
        assert!(rule.keeps_fp() && !rule.uses_fp());
    }

    #[test]
    fn a_plain_frame_restores_fp_from_its_slot() {
        let stack = Stack([1, 2, 33, 0x2000, 5, 6, 7, 8, 9]);
        let rule = Rule::plain(Base::StackPointer, 32, CallerFp::AtCfa(-16));
        let made = step(rule, leaf(stack.at(0), 77));
        assert_eq!(made.0, FrameState { pc: 0x2000, sp: stack.at(4), fp: 33, exact: false });
        assert_eq!(made.1.fp, stack.at(2));
        assert!(!rule.keeps_fp() && !rule.uses_fp());
    }

    #[test]
    fn a_frame_with_a_frame_pointer_does_not_care_for_sp() {
        let stack = Stack([1, 2, 33, 0x2000, 5, 6, 7, 8, 9]);
        let rule = Rule::plain(Base::FramePointer, 16, CallerFp::AtFp(0));
        let made = step(rule, leaf(stack.at(0), stack.at(2)));
        assert_eq!(made.0, FrameState { pc: 0x2000, sp: stack.at(4), fp: 33, exact: false });
        assert!(rule.uses_fp() && !rule.keeps_fp());
    }

    #[test]
    fn an_indirect_frame_reads_its_canonical_address() {
        // *(fp + 8) + 16 is the address of word 6; pc two words below it, fp three.
        let mut stack = Stack([1, 2, 3, 33, 0x2000, 6, 7, 8, 9]);
        stack.0[1] = stack.at(4);
        let rule = Rule::indirect(Base::FramePointer, 8, 16, -16, CallerFp::AtCfa(-24)).with_exact_caller();
        let made = step(rule, leaf(0, stack.at(0)));
        assert_eq!(made.0, FrameState { pc: 0x2000, sp: stack.at(6), fp: 33, exact: true });
        assert_eq!(made.1, Slots { cfa: stack.at(1), pc: stack.at(4), fp: stack.at(3) });
    }

    #[test]
    fn a_signal_frame_has_all_three_in_its_context() {
        let stack = Stack([1, 2, 33, 4, 0x7000, 0x2000, 7, 8, 9]);
        let rule = Rule::sigreturn(32, 40, 16).with_exact_caller();
        let made = step(rule, leaf(stack.at(0), 77));
        assert_eq!(made.0, FrameState { pc: 0x2000, sp: 0x7000, fp: 33, exact: true });
        assert!(!rule.keeps_fp() && !rule.uses_fp());
    }

    #[test]
    fn a_step_that_leads_down_or_past_the_end_is_refused() {
        let stack = Stack([1, 2, 3, 0x2000, 5, 6, 7, 8, 9]);
        // SAFETY: refused before anything is read, or of `stack`.
        let made = |rule: Rule, fp, high| unsafe { rule.step_below(leaf(stack.at(2), fp), high) }.is_some();
        let by_sp = Rule::plain(Base::StackPointer, 16, CallerFp::Same);
        assert!(made(by_sp, 0, stack.at(4)));
        assert!(!made(by_sp, 0, stack.at(3)));
        let by_fp = Rule::plain(Base::FramePointer, 16, CallerFp::Same);
        assert!(!made(by_fp, stack.at(0), stack.at(8)));
        assert!(!made(by_fp, 0xDEAD_BEEF_0000_0000, stack.at(8)));
    }

    #[test]
    fn only_a_frame_pointer_leads_to_another_stack() {
        let stack = Stack([1, 2, 3, 0x2000, 5, 6, 7, 8, 9]);
        let made = |rule: Rule, fp, high| {
            // SAFETY: refused before anything is read, or of `stack`.
            unsafe { rule.step_to_another_stack(leaf(stack.at(8), fp), high) }.map(|caller| caller.pc)
        };
        let (by_fp, high) = (Rule::plain(Base::FramePointer, 16, CallerFp::Same), stack.at(8) + 8);
        assert_eq!(made(by_fp, stack.at(2), UNKNOWN_END), Some(0x2000));
        assert_eq!(made(by_fp, stack.at(2), high), None);
        assert_eq!(made(by_fp.with_exact_caller(), stack.at(2), high), Some(0x2000));
        for nowhere in [0, 0xDEAD_BEEF_0000_0000, u64::MAX] {
            assert_eq!(made(by_fp.with_exact_caller(), nowhere, UNKNOWN_END), None);
        }
        assert_eq!(made(Rule::plain(Base::StackPointer, -32, CallerFp::Same), stack.at(2), UNKNOWN_END), None);
    }

    #[test]
    fn what_does_not_fit_is_complex() {
        assert_eq!(Rule::plain(Base::StackPointer, 12, CallerFp::Same), Rule::COMPLEX);
        assert_eq!(Rule::plain(Base::StackPointer, 1 << 26, CallerFp::Same), Rule::COMPLEX);
        assert_ne!(Rule::plain(Base::StackPointer, (1 << 26) - 8, CallerFp::Same), Rule::COMPLEX);
        assert_ne!(Rule::plain(Base::StackPointer, -(1 << 26), CallerFp::Same), Rule::COMPLEX);
        assert_eq!(Rule::indirect(Base::StackPointer, 0, 0, 1024, CallerFp::Same), Rule::COMPLEX);
        assert_eq!(Rule::sigreturn(1 << 14, 0, 0), Rule::COMPLEX);
    }
}
