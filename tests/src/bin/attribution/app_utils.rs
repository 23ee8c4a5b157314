//! A sibling of the configured module, with a name that begins like its name. Not configured.

use std::future::poll_fn;
use std::hint::black_box;
use std::task::Poll;

use crate::keep::keep_blocks;

/// 5 blocks of 48 bytes for nobody's module.
#[inline(never)]
pub(crate) fn plain() {
    keep_blocks::<48>(5);
}

/// 1 block of 200 bytes. A generic argument from the configured module does not make this its function.
#[inline(never)]
pub(crate) fn wrap<T>() {
    black_box(size_of::<T>());
    keep_blocks::<200>(1);
}

/// 2 blocks of 36 bytes for `app::delegates`, which calls this.
#[inline(never)]
pub(crate) fn lines() {
    keep_blocks::<36>(2);
}

/// Frees blocks that another module allocated.
#[inline(never)]
pub(crate) fn take(blocks: [Box<[u8; 72]>; 4]) {
    drop(black_box(blocks));
}

/// Waits for another turn, on any thread of the runtime. The runtime's own function for this allocates now and then.
pub(crate) async fn later() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
