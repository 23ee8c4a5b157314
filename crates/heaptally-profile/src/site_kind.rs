//! Why a site is charged to the function, or to the pseudo-row, that it is charged to.

/// What a row of a snapshot stands for: code, or one of the named pseudo-rows that take what no
/// function can be charged with, so that rows always add up to the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SiteKind {
    /// A function of one of the configured modules: the innermost one on the stack, inlined ones
    /// included.
    Module,
    /// A stack without any function of the configured modules. The row is named `(other: crate)`
    /// after the crate that allocated.
    Other,
    /// Blocks allocated before `start`: counted, but without a stack.
    BeforeStart,
    /// Blocks allocated while tracking was paused.
    Paused,
    /// Blocks that heaptally itself allocated, on its own threads and for snapshots.
    Internal,
    /// Blocks whose stack could not be captured.
    NoStack,
    /// Stacks in a program whose symbols were stripped. Addresses are kept.
    NoSymbols,
    /// Blocks allocated when the tables of stacks were full.
    Overflow,
    /// Blocks allocated on a thread whose state was already given back.
    Teardown,
    /// Blocks of 256 bytes and more for whose tag the system gave no memory, or whose address has more than 47 bits:
    /// nothing can say later where they came from.
    Untagged,
    /// Frees whose block carried no valid tag. Only frees: the one row that the totals do not
    /// contain.
    UnknownFrees,
}

impl SiteKind {
    /// The name of the pseudo-row. Rows of [`Module`](SiteKind::Module) and
    /// [`Other`](SiteKind::Other) show their function instead.
    ///
    /// ```
    /// assert_eq!(heaptally_profile::SiteKind::NoStack.label(), "(no stack)");
    /// ```
    pub const fn label(self) -> &'static str {
        match self {
            Self::Module => "(module)",
            Self::Other => "(other)",
            Self::BeforeStart => "(before start)",
            Self::Paused => "(paused)",
            Self::Internal => "(heaptally itself)",
            Self::NoStack => "(no stack)",
            Self::NoSymbols => "(no symbols)",
            Self::Overflow => "(overflow)",
            Self::Teardown => "(thread teardown)",
            Self::Untagged => "(untagged)",
            Self::UnknownFrees => "(frees without a known allocation)",
        }
    }

    /// Whether the row names code: what allocated, or that its symbols are missing.
    pub(crate) fn is_code(self) -> bool {
        matches!(self, Self::Module | Self::Other | Self::NoSymbols)
    }

    /// Whether the row has blocks of the program: not heaptally's own, and not frees that are in no total.
    pub fn is_program(self) -> bool {
        !matches!(self, Self::Internal | Self::UnknownFrees)
    }
}
