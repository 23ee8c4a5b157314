//! From the stack just captured to the id that its blocks are counted under; recorded, if the process has not met it.
//!
//! Called in the hook by the thread whose stack it is, while it is busy. Where there is no room for all of a stack, less
//! is kept of it, in steps:
//!
//! ```text
//!  the whole stack        while ids of `max_stacks` are left, and a quarter of the rings, of the nodes and of the arena
//!    └► its 16 innermost frames below "(truncated)"        while others of that end have an id, or one is left
//!         └► the row "(overflow)"
//! ```
//!
//! A program that makes millions of stacks by recursion ends in few ways: so each block keeps its owner.

use crate::capture::Capturer;
use crate::losses::Losses;
use crate::process::PROCESS;
use crate::ring::{Outline, RecordedIp};
use crate::stack_hash::StackHash;
use crate::stack_id::StackId;
use crate::stack_table::Extent;
use crate::sync::Ordering;
use crate::thread_state::{Scratch, ThreadState};

/// Frames kept of a stack for which there is no more room.
pub(crate) const SHORT_FRAMES: usize = 16;

/// There is no room for the stack, but the next time there may be.
pub(crate) struct NoRoomNow {
    /// What to count it under meanwhile.
    pub(crate) id: StackId,
}

/// Why a stack was not recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NoRoom {
    /// No id is left, or there is too little memory for more of that extent: for good.
    Ids,
    /// The rings hold as many records of that extent as they may, or there is no memory for more.
    Ring,
    /// There is no memory to find it by, or to count it on.
    Memory,
}

/// The id of the stack just captured.
#[inline]
pub(crate) fn find_or_record(state: &ThreadState, scratch: &mut Scratch) -> Result<StackId, NoRoomNow> {
    let hash = scratch.capturer.hash(&PROCESS);
    if let Some(id) = scratch.cache.find(hash) {
        return Ok(id);
    }
    let id = match PROCESS.stacks.find(hash) {
        Some(id) => id,
        None => record(state, &mut scratch.capturer, hash)?,
    };
    // Also for a stack that was shortened: the cache leads from all of it to the id of its end.
    scratch.cache.keep(hash, id);
    Ok(id)
}

/// What to count a stack under that the process has not met.
#[cold]
fn record(state: &ThreadState, capturer: &mut Capturer, hash: StackHash) -> Result<StackId, NoRoomNow> {
    let why = match record_whole(state, capturer, hash) {
        Ok(id) => return Ok(id),
        Err(why) => why,
    };
    if why == NoRoom::Ring {
        Losses::count(&PROCESS.losses.ring_full);
        PROCESS.doorbell.ring();
    }
    match find_or_record_short(state, capturer, hash) {
        Ok(id) if why == NoRoom::Ids => Ok(id),
        Ok(id) => Err(NoRoomNow { id }),
        Err(_) => {
            Losses::count(&PROCESS.losses.stacks_full);
            Err(NoRoomNow { id: StackId::OVERFLOW })
        }
    }
}

fn record_whole(state: &ThreadState, capturer: &mut Capturer, hash: StackHash) -> Result<StackId, NoRoom> {
    let outline = capturer.outline();
    let recorded = publish(state, hash, Extent::Full, outline, capturer)?;
    if outline.truncated {
        Losses::count(&PROCESS.losses.truncated_stacks);
    }
    // The base of later records; those that are cut short are none.
    capturer.set_recorded(recorded.own);
    Ok(recorded.known)
}

/// The id of the stack's innermost frames. A stack that has no more of them is itself.
fn find_or_record_short(state: &ThreadState, capturer: &Capturer, hash: StackHash) -> Result<StackId, NoRoom> {
    let is_whole = capturer.depth() <= SHORT_FRAMES;
    if is_whole {
        let outline = Outline { base: None, new: capturer.depth(), truncated: capturer.truncated() };
        let recorded = publish(state, hash, Extent::Short, outline, capturer)?;
        if outline.truncated {
            Losses::count(&PROCESS.losses.truncated_stacks);
        }
        return Ok(recorded.known);
    }
    let hash = capturer.short_hash(&PROCESS);
    if let Some(id) = PROCESS.stacks.find(hash) {
        return Ok(id);
    }
    let outline = Outline { base: None, new: SHORT_FRAMES, truncated: true };
    let recorded = publish(state, hash, Extent::Short, outline, capturer)?;
    Losses::count(&PROCESS.losses.shortened_stacks);
    Ok(recorded.known)
}

/// A stack in the table.
struct Recorded {
    /// The id of the record in this thread's ring.
    own: StackId,
    /// The id that the table leads to: another one, if another thread was first.
    known: StackId,
}

fn publish(
    state: &ThreadState,
    hash: StackHash,
    extent: Extent,
    outline: Outline,
    capturer: &Capturer,
) -> Result<Recorded, NoRoom> {
    let is_scarce = extent == Extent::Full && PROCESS.arena.is_scarce();
    if is_scarce || !PROCESS.stacks.has_ids(extent) {
        return Err(NoRoom::Ids);
    }
    let ring_limit_bytes = PROCESS.ring_limit_bytes.load(Ordering::Relaxed);
    let room = state.ring.reserve(outline, extent, ring_limit_bytes, &PROCESS.segments, &PROCESS.arena);
    let room = room.map_err(|_| NoRoom::Ring)?;
    let prepare = |id| PROCESS.shared.prepare(id, &PROCESS.arena);
    let own = PROCESS.stacks.issue(hash, extent, &PROCESS.arena, prepare).ok_or(NoRoom::Memory)?;
    let wants_drain = room.wants_drain;
    // The record first, the entry then: every id that anybody can find has its record.
    room.fill(own, capturer.leaf_first().take(outline.new).map(RecordedIp::word));
    if wants_drain {
        PROCESS.doorbell.ring();
    }
    Ok(Recorded { own, known: PROCESS.stacks.insert(hash, own, &PROCESS.arena) })
}
