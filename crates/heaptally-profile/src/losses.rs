//! What could not be recorded or attributed, and what can be done about it.
//!
//! Counted in the allocator's code, collected by the aggregator, printed under every table.

use std::fmt;

use crate::units::{Bytes, Plural};

/// What was lost: stacks, attribution, resources. Blocks and bytes never are: they are in the
/// totals and in a named pseudo-row. Numbers count events since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// Frees of blocks that carried no valid tag.
    pub unknown_frees: UnknownFrees,
    /// Allocations without a stack, made inside a signal handler that interrupted the allocator.
    pub no_stack_nested: u64,
    /// Jumps out of a signal handler that had interrupted the allocator. Each leaves at most one operation in the
    /// totals and not in its row, or its blocks and not its bytes.
    pub abandoned: u64,
    /// Allocations without a stack because the unwinder gave none.
    pub no_stack_failed: u64,
    /// Stacks that were cut at the configured depth.
    pub truncated_stacks: u64,
    /// Stacks of which only the innermost 16 frames were recorded, because there was no room for more. Each may stand
    /// for any number of stacks that end alike.
    pub shortened_stacks: u64,
    /// Allocations whose stack found no room, not even for its innermost frames: they are in the row "(overflow)".
    pub overflow_stacks: u64,
    /// Allocations whose new stack found no room in the rings, or no memory for it: it was shortened for the time being,
    /// or is among `overflow_stacks`.
    pub ring_full: u64,
    /// Stacks that found no room in the store of all stacks, or no memory for it: their blocks are in the row
    /// "(overflow)".
    pub unstored_stacks: u64,
    /// Freed blocks for whose ages there was no memory: they are among those freed in the tick of their birth.
    pub unknown_ages: u64,
    /// Times heaptally's own tables would have grown beyond their limit.
    pub refused_by_arena_limit: u64,
    /// Times the system refused memory for heaptally's own tables.
    pub failed_mappings: u64,
    /// Threads that found no memory for a state of their own, or too many other threads: they count on shared lines and
    /// capture no stacks until they get one.
    pub threads_without_state: u64,
}

/// Frees of blocks that this allocator does not know, and the last of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownFrees {
    /// How many blocks.
    pub blocks: u64,
    /// The bytes that their layouts named.
    pub bytes: u64,
    /// Where the last one was.
    pub last_address: u64,
    /// The size that its layout named, in bytes.
    pub last_size: u64,
}

impl Losses {
    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One line per loss, without a newline at the end; nothing when nothing was lost.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Lines { f, any: false };
        let UnknownFrees { blocks, bytes, last_address, last_size } = self.unknown_frees;
        lines.line(blocks, |f| {
            let (frees, bytes, last) = (Plural(blocks, "free"), Bytes(bytes), Bytes(last_size));
            write!(f, "{frees} without a known allocation ")?;
            write!(f, "({bytes}; the last at {last_address:#x}, {last}): ")?;
            f.write_str(
                "look for a write past the end of a block, a wrong layout, or memory of another \
                 allocator",
            )
        })?;
        lines.line(self.no_stack_nested, |f| {
            let allocations = Plural(self.no_stack_nested, "allocation");
            write!(
                f,
                "{allocations} without a stack, made in a signal handler that interrupted the allocator: keep \
                 the handler from allocating"
            )
        })?;
        lines.line(self.abandoned, |f| {
            let jumps = Plural(self.abandoned, "jump");
            write!(
                f,
                "{jumps} out of a signal handler that had interrupted the allocator, so that the totals may be as many \
                 operations ahead of the rows: let handlers return"
            )
        })?;
        lines.line(self.no_stack_failed, |f| {
            let allocations = Plural(self.no_stack_failed, "allocation");
            write!(
                f,
                "{allocations} without a stack, because unwinding found no frame: if they are many, look for code \
                 built without unwind tables"
            )
        })?;
        lines.line(self.truncated_stacks, |f| {
            let stacks = Plural(self.truncated_stacks, "stack");
            write!(
                f,
                "{stacks} cut at the depth limit: raise `max_depth` if callers are missing and it is not at its maximum"
            )
        })?;
        lines.line(self.shortened_stacks, |f| {
            let stacks = Plural(self.shortened_stacks, "stack");
            write!(
                f,
                "{stacks} kept by the innermost 16 frames alone, for those that end alike, since there was no room for \
                 more: raise `max_stacks`, unless another line here says why"
            )
        })?;
        lines.line(self.overflow_stacks, |f| {
            let allocations = Plural(self.overflow_stacks, "allocation");
            write!(
                f,
                "{allocations} in the row \"(overflow)\", since there was no room for the end of the stack either: raise \
                 `max_short_stacks`, unless another line here says why"
            )
        })?;
        lines.line(self.ring_full, |f| {
            let allocations = Plural(self.ring_full, "allocation");
            write!(
                f,
                "{allocations} found no room for a new stack in the rings (or the system gave no memory): raise \
                 `ring_bytes`, or `all_rings_bytes` if it is used up"
            )
        })?;
        lines.line(self.unstored_stacks, |f| {
            let stacks = Plural(self.unstored_stacks, "stack");
            write!(
                f,
                "{stacks} in the row \"(overflow)\", since the store of stacks had no room: raise `max_stack_nodes`, \
                 unless another line here says why"
            )
        })?;
        lines.line(self.unknown_ages, |f| {
            let blocks = Plural(self.unknown_ages, "freed block");
            write!(
                f,
                "{blocks} with an age that found no room, so that they are among the youngest: see the lines below"
            )
        })?;
        lines.line(self.refused_by_arena_limit, |f| {
            let requests = Plural(self.refused_by_arena_limit, "request");
            write!(f, "{requests} for heaptally's own memory beyond its limit: raise `arena_bytes`")
        })?;
        lines.line(self.failed_mappings, |f| {
            let requests = Plural(self.failed_mappings, "request");
            write!(
                f,
                "{requests} for heaptally's own memory refused by the system: look at the memory limits of the \
                 process"
            )
        })?;
        lines.line(self.threads_without_state, |f| {
            let threads = Plural(self.threads_without_state, "thread");
            write!(
                f,
                "{threads} without counters and stacks of their own, for a while at least, so that what they allocate \
                 has no stack: keep fewer threads alive at a time, unless another line here says why"
            )
        })
    }
}

/// Writes lines with newlines between them.
struct Lines<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    any: bool,
}

impl Lines<'_, '_> {
    fn line(&mut self, events: u64, write: impl FnOnce(&mut fmt::Formatter<'_>) -> fmt::Result) -> fmt::Result {
        if events == 0 {
            return Ok(());
        }
        if self.any {
            self.f.write_str("\n")?;
        }
        self.any = true;
        write(self.f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lost_prints_nothing() {
        assert!(Losses::default().is_empty());
        assert_eq!(Losses::default().to_string(), "");
    }

    #[test]
    fn each_loss_has_a_line() {
        let losses = Losses {
            unknown_frees: UnknownFrees { blocks: 3, bytes: 2048, last_address: 0x7f00, last_size: 64 },
            no_stack_nested: 1,
            abandoned: 1,
            no_stack_failed: 2,
            truncated_stacks: 1200,
            shortened_stacks: 2,
            overflow_stacks: 1,
            ring_full: 5,
            unstored_stacks: 3,
            unknown_ages: 6,
            refused_by_arena_limit: 4,
            failed_mappings: 1,
            threads_without_state: 2,
        };
        assert!(!losses.is_empty());
        assert_eq!(
            losses.to_string(),
            "3 frees without a known allocation (2.0 KiB; the last at 0x7f00, 64 B): look for a write past the end \
             of a block, a wrong layout, or memory of another allocator\n\
             1 allocation without a stack, made in a signal handler that interrupted the allocator: keep the handler \
             from allocating\n\
             1 jump out of a signal handler that had interrupted the allocator, so that the totals may be as many \
             operations ahead of the rows: let handlers return\n\
             2 allocations without a stack, because unwinding found no frame: if they are many, look for code built \
             without unwind tables\n\
             1,200 stacks cut at the depth limit: raise `max_depth` if callers are missing and it is not at its maximum\n\
             2 stacks kept by the innermost 16 frames alone, for those that end alike, since there was no room for more: \
             raise `max_stacks`, unless another line here says why\n\
             1 allocation in the row \"(overflow)\", since there was no room for the end of the stack either: raise \
             `max_short_stacks`, unless another line here says why\n\
             5 allocations found no room for a new stack in the rings (or the system gave no memory): raise `ring_bytes`, \
             or `all_rings_bytes` if it is used up\n\
             3 stacks in the row \"(overflow)\", since the store of stacks had no room: raise `max_stack_nodes`, unless \
             another line here says why\n\
             6 freed blocks with an age that found no room, so that they are among the youngest: see the lines below\n\
             4 requests for heaptally's own memory beyond its limit: raise `arena_bytes`\n\
             1 request for heaptally's own memory refused by the system: look at the memory limits of the process\n\
             2 threads without counters and stacks of their own, for a while at least, so that what they allocate has \
             no stack: keep fewer threads alive at a time, unless another line here says why"
        );
    }
}
