//! The plain numbers of a snapshot in JSON: objects whose keys are the names of the public fields.
//!
//! Types of their own, so that the public ones promise nothing to serde. A field that one has and the other has not does
//! not compile. A key that a text does not have is zero: older heaptallys had fewer counters.

use serde::{Deserialize, Serialize};

use crate::captures::Captures;
use crate::counts::Counts;
use crate::frame::Segment;
use crate::lifetimes::{AGES, Lifetimes};
use crate::losses::{Losses, UnknownFrees};
use crate::overhead::Overhead;
use crate::peak::PeakBytes;
use crate::symbols::SymbolQuality;
use crate::totals::Totals;

/// A twin of a public type, field by field.
macro_rules! twin {
    ($twin:ident of $public:ident { $($field:ident: $type:ty,)* }) => {
        #[derive(Clone, Copy, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(super) struct $twin {
            $($field: $type,)*
        }

        impl From<$public> for $twin {
            fn from(public: $public) -> Self {
                let $public { $($field,)* } = public;
                Self { $($field: $field.into(),)* }
            }
        }

        impl From<$twin> for $public {
            fn from(twin: $twin) -> Self {
                let $twin { $($field,)* } = twin;
                Self { $($field: $field.into(),)* }
            }
        }
    };
}

twin!(CountsTwin of Counts {
    allocated_blocks: u64,
    allocated_bytes: u64,
    freed_blocks: u64,
    freed_bytes: u64,
});

twin!(TotalsTwin of Totals {
    allocated_blocks: u64,
    allocated_bytes: u64,
    freed_blocks: u64,
    freed_bytes: u64,
});

twin!(LifetimesTwin of Lifetimes {
    allocated_births: u64,
    freed_births: u64,
    temporaries: u64,
    freed_by_age: [u64; AGES],
});

twin!(PeakTwin of PeakBytes {
    live_bytes: u64,
    error_bytes: u64,
});

twin!(SegmentTwin of Segment {
    start: u64,
    limit: u64,
    offset: u64,
});

twin!(UnknownFreesTwin of UnknownFrees {
    blocks: u64,
    bytes: u64,
    last_address: u64,
    last_size: u64,
});

twin!(LossesTwin of Losses {
    unknown_frees: UnknownFreesTwin,
    no_stack_nested: u64,
    abandoned: u64,
    no_stack_failed: u64,
    truncated_stacks: u64,
    shortened_stacks: u64,
    overflow_stacks: u64,
    ring_full: u64,
    unstored_stacks: u64,
    unknown_ages: u64,
    refused_by_arena_limit: u64,
    failed_mappings: u64,
    threads_without_state: u64,
});

twin!(OverheadTwin of Overhead {
    arena_bytes: u64,
    arena_mapped_bytes: u64,
    arena_limit_bytes: u64,
    internal_live_bytes: u64,
    tag_bytes: u64,
    page_map_bytes: u64,
    threads: u64,
    threads_limit: u64,
    stacks: u64,
    stacks_limit: u64,
    short_stacks_limit: u64,
    stack_nodes: u64,
    stack_nodes_limit: u64,
    rules: u64,
    rules_limit: u64,
    counter_page_bytes: u64,
    counter_page_limit_bytes: u64,
    ring_bytes: u64,
    ring_limit_bytes: u64,
    all_rings_limit_bytes: u64,
    history_bytes: u64,
    history_limit_bytes: u64,
    aggregator_cpu_ns: u64,
    snapshot_ns: u64,
    symbolize_ns: u64,
});

twin!(CapturesTwin of Captures {
    reused: u64,
    joined: u64,
    fresh: u64,
    by_unwound: [u64; Captures::UNWOUND_RANGES.len()],
    truncated: u64,
    unavailable: u64,
    complex_frame: u64,
    registered_code: u64,
    too_many_modules: u64,
    implausible: u64,
    verified: u64,
    mismatched: u64,
});

twin!(SymbolsTwin of SymbolQuality {
    addresses: u64,
    with_lines: u64,
    names_only: u64,
    bare_names: u64,
    nameless: u64,
    inlined_frames: bool,
});
