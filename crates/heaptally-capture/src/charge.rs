//! What the allocations of one stack are counted under.
//!
//! Kept by a thread with the stacks that it remembers, so that a stack that is found unchanged needs no table.

use crate::site_line::SiteLine;
use crate::stack_id::StackId;

/// An id, and the thread's own line of it. All zero is none.
#[derive(Clone, Copy)]
pub(crate) struct Charge {
    pub(crate) id: StackId,
    pub(crate) line: Option<&'static SiteLine>,
}

impl Charge {
    pub(crate) const NONE: Self = Self { id: StackId::BEFORE_START, line: None };
}
