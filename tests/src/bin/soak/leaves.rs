//! The functions that make the service's blocks, each with its account. They are the modules of the configuration: each
//! has a row, which holds its blocks and nothing else.
//!
//! Every function does something after its call: a call in tail position becomes a jump, and the caller is then not on
//! the stack.

use std::hint::black_box;

use crate::account::{Account, Kept};

macro_rules! leaves {
    ($($(#[$doc:meta])* $name:ident $account:ident),* $(,)?) => {
        $(
            static $account: Account = Account::new(concat!("soak::leaves::", stringify!($name)));
            $(#[$doc])*
            #[inline(never)]
            pub(crate) fn $name(bytes: usize) -> Kept {
                let kept = Kept::new(black_box(bytes), &$account);
                black_box(&kept);
                kept
            }
        )*

        /// All of them, and [`grow`]'s.
        pub(crate) static ACCOUNTS: &[&Account] = &[$(&$account,)* &GROWN];
    };
}

leaves! {
    /// On a stack that was hardly ever met.
    new_stack NEW_STACK,
    /// Under more frames than are kept.
    deep DEEP,
    /// Called back by a library that is unloaded then.
    through_plugin THROUGH_PLUGIN,
    /// On a thread that ends soon.
    on_short_thread ON_SHORT_THREAD,
    /// Freed by destructors of threads.
    for_thread_end FOR_THREAD_END,
    /// Of a quarter of a MiB and more.
    large LARGE,
    /// To be resized.
    resized RESIZED,
    /// To be freed by another thread.
    handed_over HANDED_OVER,
    /// Never freed.
    leaked LEAKED,
    /// In forked children only.
    in_child IN_CHILD,
}

static GROWN: Account = Account::new("soak::leaves::grow");

/// Resizes a block, which is its account's from then on.
#[inline(never)]
pub(crate) fn grow(kept: &mut Kept, bytes: usize) {
    kept.resize(black_box(bytes), &GROWN);
    black_box(kept);
}

/// What the service says of the row of [`in_child`].
pub(crate) fn in_child_account() -> &'static Account {
    &IN_CHILD
}
