//! Async functions of the configured module, run on a multi-thread runtime.
//!
//! Their code is in the closure that the compiler makes of the body. Where that is polled directly by the runtime's
//! generic code the optimizer may inline it there, and without inlined frames it is then the runtime's.

use std::hint::black_box;

use crate::app_utils::later;
use crate::keep::{block, keep_blocks};

/// 2 blocks of 512 bytes, freed after they waited, perhaps on another thread; then 3 blocks of 640 bytes. Polled
/// through a pointer, so never inlined.
pub(crate) async fn fetch() {
    let request = [block::<512>(), block::<512>()];
    later().await;
    keep_blocks::<640>(3);
    decode().await;
    drop(black_box(request));
}

/// 2 blocks of 160 bytes. Awaited in one place, so perhaps inlined there.
async fn decode() {
    keep_blocks::<160>(1);
    later().await;
    keep_blocks::<160>(1);
}

/// 4 blocks of 96 bytes, beside those of [`handle`]. Spawned as it is, so perhaps inlined into the runtime.
pub(crate) async fn serve() {
    keep_blocks::<96>(2);
    later().await;
    handle();
    keep_blocks::<96>(2);
}

/// 3 blocks of 24 bytes.
#[inline(never)]
fn handle() {
    keep_blocks::<24>(3);
}
