//! The process-wide counter line of every stack id, for those who have no line of their own.
//!
//! Any thread adds with atomic instructions: threads that meet a stack seldom, threads whose page budget is used up,
//! signal handlers that interrupted the hook, threads being torn down. A little slower than a thread's own line, as
//! exact.

use crate::arena::Arena;
use crate::lazy_table::LazyTable;
use crate::site_line::SiteLine;
use crate::stack_id::StackId;

const LINES_PER_BLOCK: usize = 128;
const BLOCKS: usize = StackId::LIMIT as usize / LINES_PER_BLOCK;
const PSEUDO: usize = StackId::FIRST_REAL.index();

/// See the module's head.
pub struct SharedLines {
    /// The pseudo-rows need no memory of the arena: they must be there when nothing else is.
    pseudo: [SiteLine; PSEUDO],
    real: LazyTable<SiteLine, BLOCKS, LINES_PER_BLOCK>,
}

impl SharedLines {
    /// All zero.
    pub(crate) const fn new() -> Self {
        Self { pseudo: [const { SiteLine::new() }; PSEUDO], real: LazyTable::new() }
    }

    /// Makes the line of `id` exist. An id is issued only after this has succeeded.
    pub(crate) fn prepare(&self, id: StackId, arena: &Arena) -> bool {
        id < StackId::FIRST_REAL || self.real.get_or_map(id.index(), arena).is_some()
    }

    /// The line of `id`, or `None` for an id that was never issued.
    #[inline]
    pub fn line(&self, id: StackId) -> Option<&SiteLine> {
        match self.pseudo.get(id.index()) {
            Some(line) => Some(line),
            None => self.real.get(id.index()).map(|line| line as &SiteLine),
        }
    }

    /// Every line below `issued`, with its id.
    pub(crate) fn for_each(&self, issued: u32, mut visit: impl FnMut(StackId, &SiteLine)) {
        for index in 0..issued {
            let id = StackId::new(index);
            if let Some(line) = self.line(id) {
                visit(id, line);
            }
        }
    }
}
