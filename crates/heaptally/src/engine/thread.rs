//! The thread-local pointer to a thread's state, and its hand-over when the thread ends.
//!
//! Used by every operation of the allocator, on every thread. The fast path is one thread-local load. The
//! pointer has no destructor, because registering one takes the loader's lock: a `dlopen` constructor that joins a
//! thread would hang. A pthread key tells of the thread's end instead.
//!
//! ```text
//!  FRESH ─► REGISTERING ─► a state ─► ENDED
//!                  ▲  └──► STATELESS        (no memory, or 65,536 threads alive)
//!                  └────────── ┘             after some operations
//! ```
//!
//! A signal handler may leave any of this by a jump. The next operation finds REGISTERING without a frame of it on the
//! stack, and registers the thread anew; what the other registration had taken stays taken.
#![allow(unsafe_code, reason = "leads from a thread-local pointer to a state of the arena")]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

use heaptally_capture::hook::{self, Thread};
use heaptally_capture::{Entry, Head, Losses, PROCESS, ThreadState, page_map};
use heaptally_profile::Counts;

/// What the pointer points to in a thread without a state, told apart by address.
static PLACEHOLDERS: [Head; 4] = [const { Head::placeholder() }; 4];
const FRESH: *const Head = &raw const PLACEHOLDERS[0];
const REGISTERING: *const Head = &raw const PLACEHOLDERS[1];
const STATELESS: *const Head = &raw const PLACEHOLDERS[2];
const ENDED: *const Head = &raw const PLACEHOLDERS[3];

thread_local! {
    /// Const and without destructor: reading it runs no code, at any time in the life of the thread. Never null.
    static STATE: Cell<*const Head> = const { Cell::new(FRESH) };
    /// The stack pointer of the operation that made it REGISTERING.
    static REGISTERING_SINCE: Cell<usize> = const { Cell::new(0) };
    /// What the thread counted with states that it has left, less what its present one had counted before.
    static EARLIER: Cell<Counts> = const { Cell::new(Counts::ZERO) };
    /// Operations of this thread while it had no state, though it wanted one.
    static STATELESS_OPERATIONS: Cell<u32> = const { Cell::new(0) };
    /// Calls of [`enter_internal`] while the thread had no state.
    static INTERNAL: Cell<u32> = const { Cell::new(0) };
    /// Rounds of pthread destructors that this thread has been through.
    static ROUNDS: Cell<u32> = const { Cell::new(0) };
}

/// The head of the calling thread's state, or a placeholder whose gate is open.
#[inline(always)]
pub(crate) fn head() -> &'static Head {
    // SAFETY: placeholders are static, states come from the arena: both live for ever.
    unsafe { &*STATE.get() }
}

/// The state that a head begins, if it says that its owner's allocations are tracked.
#[inline(always)]
pub(crate) fn tracked(head: &'static Head) -> Option<&'static ThreadState> {
    // SAFETY: a tracked head is marked.
    head.is_tracked().then(|| unsafe { state_of(head) })
}

/// The same, if they are paused.
#[inline]
pub(crate) fn paused(head: &'static Head) -> Option<&'static ThreadState> {
    // SAFETY: as in `tracked`.
    head.is_paused().then(|| unsafe { state_of(head) })
}

/// The same, if they are one or the other.
#[inline(always)]
pub(crate) fn marked(head: &'static Head) -> Option<&'static ThreadState> {
    // SAFETY: as in `tracked`.
    head.is_marked().then(|| unsafe { state_of(head) })
}

/// # Safety
///
/// The head is marked.
#[inline(always)]
unsafe fn state_of(head: &'static Head) -> &'static ThreadState {
    // SAFETY: only the head of a state is ever marked, and `head` has the provenance of the whole.
    unsafe { &*ptr::from_ref(head).cast::<ThreadState>() }
}

/// The calling thread's state; `None` for a thread that has none, or none yet.
pub(crate) fn state() -> Option<&'static ThreadState> {
    state_at(STATE.get())
}

/// `head` is a value of [`STATE`].
fn state_at(head: *const Head) -> Option<&'static ThreadState> {
    if (FRESH.addr()..=ENDED.addr()).contains(&head.addr()) {
        return None;
    }
    // SAFETY: every other value is the first field of a state from the arena, with the provenance of the whole.
    Some(unsafe { &*head.cast::<ThreadState>() })
}

/// The calling thread, registered if it was fresh. `entry` was read by it in a function that has not returned.
#[cold]
pub(crate) fn current(entry: Entry) -> Thread {
    let head = STATE.get();
    match state() {
        // SAFETY: the state and the entry are the calling thread's.
        Some(state) if unsafe { hook::is_abandoned(state, entry) } => {
            abandon(state);
            register(head, entry)
        }
        Some(state) => Thread::Own(state),
        None if ptr::eq(head, FRESH) => register(head, entry),
        // SAFETY: the entry is the calling thread's.
        None if ptr::eq(head, REGISTERING) && unsafe { hook::is_left(REGISTERING_SINCE.get(), entry) } => {
            register(head, entry)
        }
        None if ptr::eq(head, REGISTERING) => Thread::Registering,
        None if ptr::eq(head, ENDED) => Thread::Ended,
        None => try_again(entry),
    }
}

/// A state for the calling thread, which has found none so far: there may be memory again. Asked for now and then, since
/// every operation of the thread comes by here.
fn try_again(entry: Entry) -> Thread {
    let operations = STATELESS_OPERATIONS.get().wrapping_add(1);
    STATELESS_OPERATIONS.set(operations);
    if !operations.is_power_of_two() && !operations.is_multiple_of(64) {
        return Thread::Stateless;
    }
    register(STATELESS, entry)
}

/// Makes the calling thread's allocations heaptally's own until the same number of calls of [`leave_internal`].
pub(crate) fn enter_internal() {
    match current(Entry::here()) {
        Thread::Own(state) => state.enter_internal(),
        // For the state that the thread may come to have.
        _ => INTERNAL.set(INTERNAL.get() + 1),
    }
}

/// Takes one [`enter_internal`] back.
pub(crate) fn leave_internal() {
    match state() {
        Some(state) => state.leave_internal(),
        None => INTERNAL.set(INTERNAL.get().saturating_sub(1)),
    }
}

/// What `thread`, the calling one, has counted with its states since it began.
#[inline]
pub(crate) fn counts(thread: Thread) -> Counts {
    match thread {
        Thread::Own(state) => EARLIER.get() + counted(state),
        Thread::Registering | Thread::Stateless | Thread::Ended => EARLIER.get(),
    }
}

fn counted(state: &ThreadState) -> Counts {
    let [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes] = state.counted();
    Counts { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes }
}

/// Takes a state out of use that the thread left by a jump in the middle of an operation: scratch memory and ring may
/// be in between two steps.
fn abandon(state: &ThreadState) {
    PROCESS.registry.retire(state);
    Losses::count(&PROCESS.losses.abandoned);
}

/// Gives the calling thread, whose head was `seen`, a state. Asks libc for nothing that may allocate before the thread
/// has it: who finds REGISTERING is a signal handler, or comes after one that has left by a jump.
fn register(seen: *const Head, entry: Entry) -> Thread {
    // First: a handler that finds REGISTERING looks here. What it reads in between is its own affair.
    REGISTERING_SINCE.set(entry.sp);
    compiler_fence(Ordering::SeqCst);
    let was = STATE.replace(REGISTERING);
    if !ptr::eq(was, seen) {
        // A signal handler came in between and has done it.
        STATE.set(was);
        return state().map_or(Thread::Stateless, Thread::Own);
    }
    if let Some(left) = state_at(was) {
        EARLIER.set(EARLIER.get() + counted(left));
    }
    page_map::prepare();
    match PROCESS.registry.acquire(&PROCESS.arena, &PROCESS.mode) {
        Some(state) => {
            EARLIER.set(EARLIER.get() - counted(state));
            (0..INTERNAL.take()).for_each(|_| state.enter_internal());
            STATE.set(ptr::from_ref(state).cast());
            PROCESS.registry.own(state);
            exit_key::arm(state);
            Thread::Own(state)
        }
        None => {
            if !ptr::eq(seen, STATELESS) {
                PROCESS.registry.count_thread_without_state();
            }
            STATE.set(STATELESS);
            Thread::Stateless
        }
    }
}

/// The pthread key whose destructor hands a state over.
mod exit_key {
    use super::*;

    /// One more than the key; 0 before there is one, `u32::MAX` when the system has none left.
    static KEY: AtomicU32 = AtomicU32::new(0);
    const NONE_LEFT: u32 = u32::MAX;
    /// glibc calls destructors in rounds until no key is set, four at most (PTHREAD_DESTRUCTOR_ITERATIONS). One round
    /// is left over for threads that first allocate in such a destructor: our key is older, so its turn comes a round
    /// later. A thread that first allocates in a later round keeps its state for ever, since nothing tells which round
    /// it is: to go a round earlier for its sake would give up the last blocks of all threads that have such keys. The
    /// snapshot shows the number of states.
    const LAST_ROUND: u32 = 2;

    /// Makes sure that `state` is handed over when the calling thread ends. Without a key it stays the thread's: its
    /// counts remain, and the number of states grows, which the snapshot shows.
    pub(super) fn arm(state: &'static ThreadState) {
        if let Some(key) = key() {
            // SAFETY: the key is live; the value is passed to `on_thread_exit` only.
            unsafe { libc::pthread_setspecific(key, ptr::from_ref(state).cast()) };
        }
    }

    fn key() -> Option<libc::pthread_key_t> {
        // Relaxed: a key is a number; libc orders its own table.
        match KEY.load(Ordering::Relaxed) {
            0 => create(),
            NONE_LEFT => None,
            key => Some(key - 1),
        }
    }

    fn create() -> Option<libc::pthread_key_t> {
        let mut key = 0;
        // SAFETY: `key` is written on success; the destructor has the required signature.
        let made = unsafe { libc::pthread_key_create(&raw mut key, Some(on_thread_exit)) } == 0;
        let value = if made { key + 1 } else { NONE_LEFT };
        match KEY.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => made.then_some(key),
            Err(winner) => {
                if made {
                    // SAFETY: nobody has seen this key.
                    unsafe { libc::pthread_key_delete(key) };
                }
                (winner != NONE_LEFT).then_some(winner - 1)
            }
        }
    }

    /// Takes the key back when this code is unloaded, in a plugin, or the process ends: its destructor would be an
    /// address of nothing.
    #[used]
    #[unsafe(link_section = ".fini_array")]
    static FINI: extern "C" fn() = {
        extern "C" fn delete() {
            let key = KEY.swap(NONE_LEFT, Ordering::Relaxed);
            if key != 0 && key != NONE_LEFT {
                // SAFETY: a key made by `create`, deleted once.
                unsafe { libc::pthread_key_delete(key - 1) };
            }
        }
        delete
    };

    /// Runs on the ending thread, after all `thread_local!` destructors, among those of other keys. Asks for another
    /// round until the last, so that the others' allocations are still counted for this thread.
    extern "C" fn on_thread_exit(value: *mut c_void) {
        let rounds = ROUNDS.get();
        ROUNDS.set(rounds + 1);
        // SAFETY: as in `arm`.
        let rearm = |key| unsafe { libc::pthread_setspecific(key, value) } == 0;
        if rounds < LAST_ROUND && key().is_some_and(rearm) {
            return;
        }
        // The pointer first: what this thread allocates from here on is teardown, and touches no state of another
        // thread.
        let state = state();
        STATE.set(ENDED);
        // A region of this thread may still be asked what has changed.
        EARLIER.set(EARLIER.get() + state.map_or(Counts::ZERO, counted));
        match state {
            // Left by a jump, and the thread has done nothing since that would have shown it.
            Some(state) if state.is_busy() => abandon(state),
            Some(state) => PROCESS.registry.release(state, &PROCESS.arena),
            None => {}
        }
    }
}
