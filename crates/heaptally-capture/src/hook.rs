//! What happens to the statistics when a block is allocated or freed.
//!
//! Called by the global allocator on any thread, with the thread's state from the thread-local pointer. Never
//! allocates through the global allocator, never locks, waits or panics; makes a system call only on the cold steps
//! (a page, a segment, a wake-up).
//!
//! Counts go to the totals first and to the stack's line then, so that row sums read before the totals never exceed
//! them. A thread without a state, or a signal handler that interrupted this very code, counts on the shared lines.

mod shared;
mod untagged;

use shared::{allocated_shared, freed_shared, freed_unknown};

use crate::capture::{Captured, Entry};
use crate::charge::Charge;
use crate::fault::{self, Fault};
use crate::head::Head;
use crate::losses::Losses;
use crate::mode::Mode;
use crate::process::PROCESS;
use crate::recording::{NoRoomNow, find_or_record};
use crate::site_line::SiteLine;
use crate::stack_id::StackId;
use crate::tag::Slot;
use crate::thread_state::{Busy, ThreadState};
use crate::tick::Tick;

/// The calling thread, as the thread-local pointer says.
#[derive(Clone, Copy)]
pub enum Thread {
    /// It has a state of its own.
    Own(&'static ThreadState),
    /// It is about to get one; this is a handler that has interrupted that.
    Registering,
    /// It has none: there are too many threads, or no memory.
    Stateless,
    /// It has given its state back: it is being torn down.
    Ended,
}

/// A block as the hook is told of it.
#[derive(Clone, Copy)]
pub struct Block {
    /// Its address.
    pub address: *mut u8,
    /// The bytes the program asked for.
    pub size: usize,
}

/// What was known of a block before it was freed: the stack that it came from and when it was born, or nothing when no
/// tag vouches for it.
#[derive(Clone, Copy)]
pub struct Origin(Option<(StackId, Tick)>);

/// Counts an allocation while tracking is off: two additions and the tag. False, and nothing done, when the block has no
/// slot for a tag yet.
///
/// # Safety
///
/// The block was allocated with [`crate::tag::tagged_layout`] just now and is the caller's; `head` is the calling
/// thread's, and off.
#[inline]
pub unsafe fn allocated_off(head: &Head, address: *mut u8, size: usize) -> bool {
    // SAFETY: the caller's block.
    let Some(slot) = (unsafe { Slot::of(address, size) }) else { return false };
    head.before_start.count_allocated(size);
    // SAFETY: the caller's block.
    unsafe { slot.write(StackId::BEFORE_START, Tick::ZERO) };
    true
}

/// Counts a free while tracking is off; false, and nothing done, when it is not off or the tag is not the only one
/// possible then.
///
/// # Safety
///
/// The block is still the caller's; `head` is the calling thread's.
#[inline]
pub unsafe fn freed_off(head: &Head, address: *mut u8, size: usize) -> bool {
    // SAFETY: the caller's block.
    let Some(slot) = (unsafe { Slot::of(address, size) }) else { return false };
    // SAFETY: the caller's block.
    let ours = head.off_tag(slot.place()) == unsafe { slot.get() };
    if ours {
        head.before_start.count_freed(size);
        // SAFETY: the caller's block.
        unsafe { slot.clear() };
    }
    ours
}

/// Whether there is a place for the tag of a block, as there always is for that of a small one. Once there is, it stays.
///
/// # Safety
///
/// The block was allocated with [`crate::tag::tagged_layout`] and is the caller's.
#[inline]
pub unsafe fn has_slot(address: *mut u8, size: usize) -> bool {
    // SAFETY: the caller's block.
    unsafe { Slot::of(address, size) }.is_some()
}

/// Counts an allocation, charges it to its stack, and tags the block.
///
/// # Safety
///
/// `block` was allocated with [`crate::tag::tagged_layout`] just now and is the caller's; `thread` is the calling thread;
/// `entry` was read in a function that has not returned.
#[inline]
pub unsafe fn allocated(thread: Thread, block: Block, entry: Entry) {
    let mode = PROCESS.mode.get();
    let Block { address, size } = block;
    // SAFETY: the caller's block.
    if !unsafe { has_slot(address, size) } && !Slot::make(address, size, &PROCESS.arena) {
        return untagged::count_allocated(thread, block, entry.sp);
    }
    let nested = Some(&PROCESS.losses.nested);
    let (id, birth) = match thread {
        Thread::Own(state) if state.head.is_off() => {
            state.head.before_start.count_allocated(size);
            (StackId::BEFORE_START, Tick::ZERO)
        }
        Thread::Own(state) => match state.enter(entry.sp) {
            // SAFETY: the caller's.
            Some(busy) => unsafe { allocated_in_state(state, busy, mode, block, entry) },
            None => allocated_shared(StackId::NO_STACK, mode, size, nested),
        },
        Thread::Registering => allocated_shared(StackId::NO_STACK, mode, size, nested),
        Thread::Stateless => allocated_shared(StackId::NO_STACK, mode, size, None),
        Thread::Ended => allocated_shared(StackId::TEARDOWN, mode, size, None),
    };
    // SAFETY: the caller's block.
    unsafe { write_tag(address, size, id, birth) };
}

/// Takes the tag off a block, while it is still the caller's, that is about to be freed or resized.
///
/// # Safety
///
/// `block` belongs to the caller.
pub unsafe fn take_origin(block: Block) -> Origin {
    let Block { address, size } = block;
    // SAFETY: the caller's block.
    let Some(slot) = (unsafe { Slot::of(address, size) }) else {
        let was_counted = Slot::take_untagged(address, size);
        return Origin(was_counted.then_some((StackId::UNTAGGED, Tick::ZERO)));
    };
    // SAFETY: the caller's block.
    let known = known(slot, unsafe { slot.get() });
    if known.is_some() {
        // A word that is no tag of the block's is not ours to clear: behind a small one that is not what its layout says
        // are the bytes of something else, and a large one may share its slot with another that begins a few bytes
        // further on.
        // SAFETY: the caller's block, which the tag vouches for.
        unsafe { slot.clear() };
    }
    Origin(known)
}

/// Undoes [`take_origin`], of a block that stays what it was.
///
/// # Safety
///
/// `block` belongs to the caller.
#[cold]
pub unsafe fn put_back_origin(block: Block, origin: Origin) {
    let Block { address, size } = block;
    match origin.0 {
        // Its leaf may have been mapped since; then a tag says the same.
        Some((StackId::UNTAGGED, _)) if !Slot::make(address, size, &PROCESS.arena) => Slot::add_untagged_bytes(size),
        // SAFETY: the caller's block.
        Some((id, birth)) => unsafe { write_tag(address, size, id, birth) },
        // What is in its slot is what was.
        None => {}
    }
}

/// Writes the tag of a block that has a slot.
///
/// # Safety
///
/// As for [`has_slot`].
#[inline]
unsafe fn write_tag(address: *mut u8, size: usize, id: StackId, birth: Tick) {
    // SAFETY: the caller's.
    if let Some(slot) = unsafe { Slot::of(address, size) } {
        // SAFETY: the caller's.
        unsafe { slot.write(id, birth) };
    }
}

/// The stack id and the birth in a word of a slot, if the one was issued and the other has come.
#[inline]
fn known(slot: Slot, word: u64) -> Option<(StackId, Tick)> {
    let (id, birth) = issued(slot, word)?;
    (birth <= PROCESS.tick.get()).then_some((id, birth))
}

/// The stack id and the birth in a word of a slot, if the one was issued.
#[inline(always)]
fn issued(slot: Slot, word: u64) -> Option<(StackId, Tick)> {
    let (mut id, birth) = slot.open(word)?;
    if fault::is_planted(Fault::FreeElsewhere) && id.index() > StackId::FIRST_REAL.index() {
        id = StackId::new(id.index() as u32 - 1);
    }
    (id.index() < PROCESS.stacks.issued() as usize).then_some((id, birth))
}

/// Counts a free of a block that came from `origin`.
pub fn freed(thread: Thread, block: Block, origin: Origin, hook_frame: usize) {
    let Some((id, birth, shared_line)) = origin.0.and_then(|(id, birth)| Some((id, birth, PROCESS.shared.line(id)?)))
    else {
        return freed_unknown(block);
    };
    match thread {
        _ if id == StackId::UNTAGGED => return untagged::count_freed(thread, block, hook_frame),
        Thread::Own(state) if id == StackId::BEFORE_START && state.head.is_off() => {
            return state.head.before_start.count_freed(block.size);
        }
        Thread::Own(state) => match state.enter(hook_frame) {
            Some(busy) => {
                state.take_path(&busy, &PROCESS.mode);
                let is_temporary = state.take_temporary(&busy, block.address);
                state.tracked.count_freed(block.size);
                match state.private.line(id) {
                    Some(line) => {
                        line.count_freed(block.size, birth);
                        if is_temporary {
                            line.count_temporary();
                        }
                    }
                    None => {
                        shared_line.add_freed(block.size, birth);
                        if is_temporary {
                            shared_line.add_temporary();
                        }
                        state.private.meet(id, &PROCESS.pages, &PROCESS.arena);
                    }
                }
                tell_freed(state, &busy, id, block.size);
            }
            None => freed_shared(id, shared_line, block.size, birth),
        },
        Thread::Registering | Thread::Stateless | Thread::Ended => freed_shared(id, shared_line, block.size, birth),
    }
    count_age(id, birth);
}

/// Tells of a block that was freed, and counted in the totals of the state.
#[inline]
fn tell_freed(state: &'static ThreadState, busy: &Busy<'_>, id: StackId, size: usize) {
    if id == StackId::INTERNAL {
        state.keep_from_telling(busy, -(size as i64));
    } else if state.is_to_tell(busy, size) {
        state.tell(busy);
    }
}

/// Counts how old a block has become that was freed.
#[inline]
fn count_age(id: StackId, birth: Tick) {
    let age_ticks = PROCESS.tick.get().number() - birth.number();
    if id != StackId::INTERNAL && age_ticks > 0 && !PROCESS.older_ages.add(id, age_ticks, &PROCESS.arena) {
        Losses::count(&PROCESS.losses.unknown_ages);
    }
}

/// Whether the thread left the hook by a jump out of a signal handler: its state says that an operation is in
/// progress, but no frame of it is on the stack. The caller then gives the thread another state
/// ([`crate::Registry::retire`]).
///
/// # Safety
///
/// `entry` was read by the calling thread in a function that has not returned, and `state` is its own.
#[inline]
pub unsafe fn is_abandoned(state: &ThreadState, entry: Entry) -> bool {
    let busy = state.busy_stack_pointer();
    // SAFETY: the caller's.
    busy != 0 && unsafe { is_left(busy, entry) }
}

/// Whether no frame is on the stack any more of something that began with the stack pointer `begun` and would not call
/// the allocator by itself.
///
/// # Safety
///
/// As for [`is_abandoned`].
pub unsafe fn is_left(begun: usize, entry: Entry) -> bool {
    // SAFETY: the caller's.
    !unsafe { PROCESS.unwinder.is_interrupted(entry, begun, &PROCESS.arena) }
}

/// # Safety
///
/// As for [`allocated`].
unsafe fn allocated_in_state(
    state: &'static ThreadState,
    mut busy: Busy<'_>,
    mode: Mode,
    block: Block,
    entry: Entry,
) -> (StackId, Tick) {
    state.take_path(&busy, &PROCESS.mode);
    state.note_allocated(&busy, block.address);
    match mode {
        Mode::Paused => charge_once(state, &busy, StackId::PAUSED, block.size),
        _ if state.is_internal() => charge_once(state, &busy, StackId::INTERNAL, block.size),
        // SAFETY: the caller's.
        _ => unsafe { charge_to_stack(state, &mut busy, block.size, entry) },
    }
}

/// Counts an allocation of a thread whose head says that it is tracked, and tags the block, whose address is returned.
/// `None`, and nothing done, when a signal handler has interrupted an operation, which the long path must look into.
///
/// # Safety
///
/// As for [`allocated`]; `state` is the calling thread's, and the block has a slot for its tag.
#[inline]
pub unsafe fn allocated_tracked(state: &'static ThreadState, block: Block, entry: Entry) -> Option<*mut u8> {
    let Block { address, size } = block;
    let mut busy = state.enter(entry.sp)?;
    let scratch = busy.scratch();
    // PERF: what a loop of allocations takes every time. It calls nothing before its end, and what can be read again is
    // not kept, so that little has to be saved.
    // SAFETY: the caller's.
    let unchanged = unsafe { scratch.capturer.find_unchanged(entry) };
    let Some(&Charge { id, line: Some(line) }) = unchanged else {
        busy.hand_over();
        // SAFETY: the caller's; this operation was handed over.
        let address =
            unsafe { allocated_elsewhere(state, address, size, entry.pc, state.busy_stack_pointer(), entry.fp) };
        return Some(address);
    };
    state.captures.count_reused();
    let birth = PROCESS.tick.get();
    state.note_allocated(&busy, address);
    state.tracked.count_allocated(size);
    line.count_allocated(size, birth);
    // SAFETY: the caller's block.
    unsafe { write_tag(address, size, id, birth) };
    if state.is_to_tell(&busy, size) {
        busy.hand_over();
        // SAFETY: this operation was handed over.
        return Some(unsafe { tell_elsewhere(state, address) });
    }
    Some(address)
}

/// Counts an allocation of a thread whose head says that it is paused, and tags the block, whose address is returned.
/// `None`, and nothing done, when it has no line of its own for that yet, or a signal handler has interrupted an
/// operation.
///
/// # Safety
///
/// As for [`allocated_tracked`]; `sp` is an address in the frame of a caller.
#[inline]
pub unsafe fn allocated_paused(state: &'static ThreadState, block: Block, sp: usize) -> Option<*mut u8> {
    let Block { address, size } = block;
    let line = state.private.line(StackId::PAUSED)?;
    let busy = state.enter(sp)?;
    let birth = PROCESS.tick.get();
    state.note_allocated(&busy, address);
    state.tracked.count_allocated(size);
    line.count_allocated(size, birth);
    // SAFETY: the caller's block.
    unsafe { write_tag(address, size, StackId::PAUSED, birth) };
    if state.is_to_tell(&busy, size) {
        state.tell(&busy);
    }
    Some(address)
}

/// The rest of an operation on a block, after which the thread has something to tell. Returns the address, so that the
/// call is a jump.
///
/// # Safety
///
/// An operation of the calling thread, whose state it is, was handed over.
#[cold]
#[inline(never)]
pub unsafe fn tell_elsewhere(state: &'static ThreadState, address: *mut u8) -> *mut u8 {
    // SAFETY: the caller's.
    let busy = unsafe { state.resume() };
    state.tell(&busy);
    address
}

/// The rest of [`allocated_tracked`], for a stack that is not the last one. The parts of block and entry one by one, so
/// that they come in registers.
///
/// # Safety
///
/// As for [`allocated_tracked`]; an operation of the calling thread was handed over.
#[inline(never)]
unsafe fn allocated_elsewhere(
    state: &'static ThreadState,
    address: *mut u8,
    size: usize,
    pc: usize,
    sp: usize,
    fp: usize,
) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe {
        let mut busy = state.resume();
        state.note_allocated(&busy, address);
        let (id, birth) = charge_to_stack(state, &mut busy, size, Entry { pc, sp, fp });
        write_tag(address, size, id, birth);
    }
    address
}

/// What [`freed_tracked`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Nothing.
    Not,
    /// All there was to do.
    Whole,
    /// All but [`tell_elsewhere`], to which the operation is handed over.
    ButTold,
}

/// Counts a free by a thread whose head is marked, of a block that was charged to a line of its own in
/// this very tick, or, if `OLD`, in an earlier one; and nothing otherwise.
///
/// # Safety
///
/// `block` belongs to the caller, and `state` is the calling thread's.
#[inline(always)]
pub unsafe fn freed_tracked<const OLD: bool>(state: &'static ThreadState, block: Block, sp: usize) -> Counted {
    // SAFETY: the caller's block.
    let Some(slot) = (unsafe { Slot::of(block.address, block.size) }) else { return Counted::Not };
    // SAFETY: the caller's block.
    let Some((id, birth)) = issued(slot, unsafe { slot.get() }) else { return Counted::Not };
    // PERF: one comparison, which also says that the tick has come.
    let now = PROCESS.tick.get();
    if if OLD { birth >= now || id == StackId::INTERNAL } else { birth != now } {
        return Counted::Not;
    }
    let Some(line) = state.private.line(id) else { return Counted::Not };
    let Some(busy) = state.enter(sp) else { return Counted::Not };
    let is_temporary = state.take_temporary(&busy, block.address);
    state.tracked.count_freed(block.size);
    line.count_freed(block.size, birth);
    if is_temporary {
        line.count_temporary();
    }
    if OLD {
        count_age(id, birth);
    }
    // SAFETY: the caller's block.
    unsafe { slot.clear() };
    if state.is_to_tell(&busy, block.size) {
        busy.hand_over();
        return Counted::ButTold;
    }
    Counted::Whole
}

/// Counts an allocation in the totals, and on the line of the stack of the calling thread.
///
/// # Safety
///
/// As for [`allocated`].
#[inline]
unsafe fn charge_to_stack(
    state: &'static ThreadState,
    busy: &mut Busy<'_>,
    size: usize,
    entry: Entry,
) -> (StackId, Tick) {
    let scratch = busy.scratch();
    // SAFETY: the caller's.
    let captured = unsafe { scratch.capturer.capture(entry, &PROCESS, &state.captures) };
    let id = match captured {
        Captured::Same if scratch.capturer.charge().id != StackId::BEFORE_START => scratch.capturer.charge().id,
        Captured::Same | Captured::Stack => match find_or_record(state, scratch) {
            Ok(id) => id,
            Err(NoRoomNow { id }) => return charge_once(state, busy, id, size),
        },
        Captured::Nothing => {
            Losses::count(&PROCESS.losses.capture_failed);
            return charge_once(state, busy, StackId::NO_STACK, size);
        }
    };
    if !fault::is_planted(Fault::TotalLost) {
        state.tracked.count_allocated(size);
    }
    let birth = PROCESS.tick.get();
    // Not before the totals: a snapshot that sees the row must see them.
    let line = charge(state, id, size, birth);
    scratch.capturer.set_charge(Charge { id, line }, &PROCESS);
    if state.is_to_tell(busy, size) {
        state.tell(busy);
    }
    (id, birth)
}

/// Counts an allocation under an id that its stack is not to have the next time.
#[cold]
fn charge_once(state: &'static ThreadState, busy: &Busy<'_>, id: StackId, size: usize) -> (StackId, Tick) {
    state.tracked.count_allocated(size);
    let birth = birth_of(id);
    charge(state, id, size, birth);
    if id == StackId::INTERNAL {
        state.keep_from_telling(busy, size as i64);
    } else if state.is_to_tell(busy, size) {
        state.tell(busy);
    }
    (id, birth)
}

/// When a block is born that is charged to `id` now.
///
/// Our own are born in tick 0, as nobody asks for their ages, and so that their frees never take the path of blocks
/// that go in the tick of their birth: they are to be left out of the peak.
#[inline]
fn birth_of(id: StackId) -> Tick {
    if id == StackId::INTERNAL { Tick::ZERO } else { PROCESS.tick.get() }
}

/// Counts an allocation on the thread's own line, which is returned, or on the shared one.
#[inline]
fn charge(state: &'static ThreadState, id: StackId, size: usize, birth: Tick) -> Option<&'static SiteLine> {
    let own = state.private.line(id);
    match own {
        _ if fault::is_planted(Fault::RowLost) => {}
        Some(line) => line.count_allocated(size, birth),
        None => {
            // Every id that is issued has its shared line; the other branch cannot be reached and costs nothing.
            if let Some(line) = PROCESS.shared.line(id) {
                line.add_allocated(size, birth);
            }
            state.private.meet(id, &PROCESS.pages, &PROCESS.arena);
        }
    }
    own
}
