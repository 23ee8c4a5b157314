//! The 24-bit name of a stack, process-wide.

/// Names one call stack, or one of the pseudo-rows that hold what has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct StackId(u32);

impl StackId {
    /// Bits of an id in a tag.
    pub const BITS: u32 = 24;
    /// One past the largest id.
    pub const LIMIT: u32 = 1 << Self::BITS;

    /// Blocks allocated before tracking was started.
    pub const BEFORE_START: Self = Self(0);
    /// Blocks allocated while tracking was paused.
    pub const PAUSED: Self = Self(1);
    /// Blocks that heaptally itself allocated.
    pub const INTERNAL: Self = Self(2);
    /// Blocks whose stack could not be taken.
    pub const NO_STACK: Self = Self(3);
    /// Blocks whose stack found no room.
    pub const OVERFLOW: Self = Self(4);
    /// Blocks allocated while their thread was being torn down.
    pub const TEARDOWN: Self = Self(5);
    /// Frees of blocks that no tag vouches for. Not part of the totals.
    pub const UNKNOWN_FREES: Self = Self(6);
    /// Large blocks for whose tag there was no memory.
    pub const UNTAGGED: Self = Self(7);
    /// The first id of a real stack. The ids between are spare pseudo-rows.
    pub const FIRST_REAL: Self = Self(16);

    /// The id numbered `index`, which must be below [`StackId::LIMIT`]; higher bits are cut off.
    #[inline]
    pub const fn new(index: u32) -> Self {
        Self(index & (Self::LIMIT - 1))
    }

    /// Its number.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
