//! The most bytes that were live at once, while the program runs: with a bounded error, since no thread adds to a common
//! sum at each allocation.
//!
//! Every thread keeps to itself up to [`UNTOLD_BYTES`] by which its live bytes have changed, up or down, and tells the
//! rest here: [`UntoldBytes`] in its state, which the hook updates with each block. heaptally's own blocks are left out. The
//! aggregator reads the breakdown when the bell rings because of a new height.
//!
//! With `n` thread states the sum here is at most `n` times [`UNTOLD_BYTES`] off at any instant, and so is the highest.

use crate::doorbell::Doorbell;
use crate::sync::{AtomicI64, Ordering};

/// The most by which a thread's part of the sum is behind.
pub const UNTOLD_BYTES: i64 = 64 << 10;

/// See the module's head.
pub struct Peak {
    /// What was live before `start` and still is.
    before_start: AtomicI64,
    /// What threads have told.
    told: AtomicI64,
    highest: AtomicI64,
    /// From here on the aggregator wants to know.
    ring_at: AtomicI64,
}

impl Peak {
    /// Of nothing; rings for nothing.
    pub(crate) const fn new() -> Self {
        Self {
            before_start: AtomicI64::new(0),
            told: AtomicI64::new(0),
            highest: AtomicI64::new(0),
            ring_at: AtomicI64::new(i64::MAX),
        }
    }

    /// Adds to the sum. On any thread, in the hook.
    pub(crate) fn tell(&self, change_bytes: i64, doorbell: &Doorbell) {
        // Relaxed, here and below: numbers that publish nothing.
        let live = self.told.fetch_add(change_bytes, Ordering::Relaxed) + change_bytes;
        self.rise_to(self.before_start.load(Ordering::Relaxed) + live, doorbell);
    }

    /// Takes note that so many bytes were live at once.
    pub fn rise_to(&self, live_bytes: i64, doorbell: &Doorbell) {
        if live_bytes <= self.highest.load(Ordering::Relaxed) {
            return;
        }
        self.highest.fetch_max(live_bytes, Ordering::Relaxed);
        // Once: until the aggregator asks again.
        if live_bytes >= self.ring_at.load(Ordering::Relaxed)
            && self.ring_at.swap(i64::MAX, Ordering::Relaxed) != i64::MAX
        {
            doorbell.ring();
        }
    }

    /// Says what was live before `start` and still is, which threads do not tell. Called by the aggregator.
    pub fn set_before_start(&self, live_bytes: i64, doorbell: &Doorbell) {
        self.before_start.store(live_bytes, Ordering::Relaxed);
        self.rise_to(live_bytes + self.told.load(Ordering::Relaxed), doorbell);
    }

    /// Begins with what is live. Called by `start`: what was told before was told by threads without counters of their own,
    /// and of blocks without a tag.
    pub fn begin(&self) {
        self.highest.store(self.live_bytes(), Ordering::Relaxed);
        self.ring_at(0);
    }

    /// What is live now, as far as it was told.
    pub fn live_bytes(&self) -> i64 {
        self.before_start.load(Ordering::Relaxed) + self.told.load(Ordering::Relaxed)
    }

    /// Asks for a ring when so many bytes are live, or more than that.
    pub fn ring_at(&self, live_bytes: i64) {
        self.ring_at.store(live_bytes, Ordering::Relaxed);
    }

    /// The most bytes that were live at once since [`Peak::begin`].
    pub fn highest_bytes(&self) -> i64 {
        self.highest.load(Ordering::Relaxed)
    }
}

/// What a thread has not told yet. Zeroed memory owes the first word at once.
///
/// Touched by the thread alone, and not by its signal handlers, as long as it is busy.
#[repr(C)]
pub(crate) struct UntoldBytes {
    /// How much more it may allocate and free together before it looks again: then what is untold may be too much.
    room: AtomicI64,
    /// What it has told, and its blocks that are nobody's to tell.
    settled: AtomicI64,
}

impl UntoldBytes {
    /// Notes a block that was allocated or freed. True when [`UntoldBytes::look`] is due.
    #[inline(always)]
    pub(crate) fn pass(&self, size: usize) -> bool {
        // PERF: two instructions; the compiler makes four, as it may not use the flags of an atomic's subtraction.
        // Relaxed: one writer.
        #[cfg(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm))))]
        // SAFETY: subtracts from a live, aligned word that no other thread writes.
        unsafe {
            core::arch::asm!(
                "sub qword ptr [{room}], {size}",
                "js {due}",
                room = in(reg) self.room.as_ptr(),
                size = in(reg) size,
                due = label { return true },
                options(nostack),
            );
            false
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm)))))]
        {
            let room = self.room.load(Ordering::Relaxed) - size as i64;
            self.room.store(room, Ordering::Relaxed);
            room < 0
        }
    }

    /// Leaves a change of the live bytes out of what is to be told.
    pub(crate) fn settle(&self, change_bytes: i64) {
        self.settled.store(self.settled.load(Ordering::Relaxed) + change_bytes, Ordering::Relaxed);
    }

    /// Tells what is to be told, if that is much; `live_bytes` are those that the state has counted so far.
    #[cold]
    pub(crate) fn look(&self, live_bytes: i64, peak: &Peak, doorbell: &Doorbell) {
        let untold = live_bytes - self.settled.load(Ordering::Relaxed);
        let left = if untold.abs() < UNTOLD_BYTES / 2 {
            untold
        } else {
            self.settled.store(live_bytes, Ordering::Relaxed);
            peak.tell(untold, doorbell);
            0
        };
        self.room.store(UNTOLD_BYTES - left.abs(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thread {
        untold: UntoldBytes,
        live: i64,
    }

    impl Thread {
        fn change(&mut self, bytes: i64, peak: &Peak) {
            self.live += bytes;
            if self.untold.pass(bytes.unsigned_abs() as usize) {
                self.untold.look(self.live, peak, &Doorbell::new());
            }
        }
    }

    fn thread() -> Thread {
        Thread { untold: UntoldBytes { room: AtomicI64::new(0), settled: AtomicI64::new(0) }, live: 0 }
    }

    #[test]
    fn the_highest_is_off_by_what_each_thread_keeps_to_itself_at_most() {
        let peak = Peak::new();
        let mut threads = [thread(), thread(), thread()];
        // xorshift, of Marsaglia, "Xorshift RNGs" (2003).
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut highest = 0;
        for _ in 0..1_000_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let thread = &mut threads[(random % 3) as usize];
            let bytes = (random >> 8 & 0x3FFF) as i64;
            // More often up than down, but back to nothing from time to time.
            let down = random >> 40 & 3 == 0 || thread.live > 50_000_000;
            let change = if down { -(bytes * 3).min(thread.live) } else { bytes };
            thread.change(change, &peak);
            let live: i64 = threads.iter().map(|thread| thread.live).sum();
            highest = highest.max(live);
            assert!((peak.told.load(Ordering::Relaxed) - live).abs() <= 3 * UNTOLD_BYTES);
        }
        assert!(highest > 1_000_000);
        assert!((peak.highest_bytes() - highest).abs() <= 3 * UNTOLD_BYTES, "{} {highest}", peak.highest_bytes());
    }

    #[test]
    fn who_allocates_and_frees_the_same_tells_nothing() {
        let peak = Peak::new();
        let mut thread = thread();
        for _ in 0..100_000 {
            thread.change(1000, &peak);
            thread.change(-1000, &peak);
        }
        assert_eq!((peak.told.load(Ordering::Relaxed), peak.highest_bytes()), (0, 0));
    }

    #[test]
    fn what_is_settled_is_not_told() {
        let peak = Peak::new();
        let mut thread = thread();
        thread.untold.settle(1_000_000);
        thread.change(1_000_000, &peak);
        assert_eq!(peak.highest_bytes(), 0);
        thread.change(100_000, &peak);
        assert_eq!(peak.highest_bytes(), 100_000);
    }

    #[test]
    fn a_height_before_the_begin_is_none() {
        let (peak, doorbell) = (Peak::new(), Doorbell::new());
        peak.tell(1000, &doorbell);
        peak.tell(-900, &doorbell);
        peak.begin();
        assert_eq!((peak.highest_bytes(), peak.live_bytes()), (100, 100));
        peak.tell(7, &doorbell);
        assert_eq!(peak.highest_bytes(), 107);
    }

    #[test]
    fn the_bell_rings_once_for_a_height() {
        let (peak, doorbell) = (Peak::new(), Doorbell::new());
        peak.ring_at(100);
        peak.tell(99, &doorbell);
        assert!(!doorbell.is_rung());
        peak.tell(1, &doorbell);
        assert!(doorbell.is_rung());
        doorbell.wait(core::time::Duration::ZERO);
        peak.tell(50, &doorbell);
        assert!(!doorbell.is_rung());
        peak.set_before_start(30, &doorbell);
        assert_eq!(peak.highest_bytes(), 180);
    }
}
