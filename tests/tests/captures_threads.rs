//! Stacks of work that wanders between threads: each capture is the platform unwinder's, and each block its
//! function's.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::hint::black_box;
use std::pin::Pin;

use captures::{Way, assert_charged, on_two_threads, snapshot};
use heaptally::TallyAlloc;
use rayon::prelude::*;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    captures::main(&[("tokio tasks", tokio_tasks), ("a work-stealing pool", a_work_stealing_pool)]);
}

/// A block of `bytes` bytes, charged to the function it is written in.
macro_rules! block {
    ($bytes:expr) => {
        drop(black_box(Vec::<u8>::with_capacity(black_box($bytes))))
    };
}

fn tokio_tasks(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..100).map(|number| tokio::spawn(task(number))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    assert_charged(
        &snapshot(way),
        &[
            // A hundred tasks of twenty turns, in two runtimes.
            ("captures_threads::in_task", 2 * 100 * 20, 24),
            ("captures_threads::in_nested_task", 2 * 100 * 5, 25),
        ],
    );
}

async fn task(number: usize) {
    for turn in 0..20 {
        in_task();
        if turn % 4 == number % 4 {
            nested(number % 6).await;
        }
        // Perhaps on another thread from here on.
        tokio::task::yield_now().await;
    }
}

#[inline(never)]
fn in_task() {
    block!(24);
}

#[inline(never)]
fn in_nested_task() {
    block!(25);
}

/// A future in a future, as often as there are `levels`.
fn nested(levels: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        match levels {
            0 => in_nested_task(),
            _ => nested(levels - 1).await,
        }
    })
}

fn a_work_stealing_pool(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.install(|| {
            halves(512);
            (0..2_000).into_par_iter().for_each(|_| in_item());
        });
    });
    assert_charged(
        &snapshot(way),
        &[
            // 512 leaves and 511 nodes above them, in two pools.
            ("captures_threads::halves", 2 * 1_023, 40),
            ("captures_threads::in_item", 2 * 2_000, 48),
        ],
    );
}

#[inline(never)]
fn halves(leaves: usize) {
    block!(40);
    if leaves > 1 {
        rayon::join(|| halves(leaves / 2), || halves(leaves / 2));
    }
}

#[inline(never)]
fn in_item() {
    block!(48);
}
