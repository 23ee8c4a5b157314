//! A program that allocates by hand-computed numbers, to see what each profile lets heaptally say about them.
//!
//! The harness `tests/attribution.rs` builds it in several profiles, runs it and compares. Two modules are
//! configured: `attribution::app`, and one that does not exist. The numbers are in the harness's table and here in
//! the calls; neither is computed from the other.
//!
//! Every function that calls another one to allocate does something after the call: a call in tail position becomes a
//! jump, and the caller is then not on the stack.

mod app;
mod app_utils;
mod keep;
mod report;

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::process::ExitCode;

use heaptally::{Config, TallyAlloc};

use app::{Build, Fill};
use keep::keep;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() -> ExitCode {
    let config = Config::new().modules(["attribution::app", "attribution::nowhere"]);
    let tally = match heaptally::start(config) {
        Ok(tally) => tally,
        Err(error) => {
            eprintln!("attribution: {error}");
            return ExitCode::FAILURE;
        }
    };
    calls();
    let after_calls = tally.snapshot();
    tasks();
    let after_tasks = tally.snapshot();

    report::print("calls", &after_calls);
    report::print("tasks", &after_tasks);
    report::print_table(&after_tasks);
    ExitCode::SUCCESS
}

/// Everything that runs on the main thread. Allocates nothing itself.
#[inline(never)]
fn calls() {
    app::plain();
    app::generic::<u8>();
    app::generic::<u8>();
    app::generic::<u64>();
    app::generic::<u64>();
    let mut cache = app::Cache::<u32>::new();
    for value in 0..5 {
        cache.insert(black_box(value));
    }
    keep(cache);
    app::closure();

    let widget = app::Widget::default();
    drop(black_box(app::Widget::default()));
    let build: &dyn Build = black_box(&widget);
    build.build();
    build.build_again();
    let mut bytes = Vec::new();
    bytes.fill();
    keep(bytes);

    app::frees_two_of_five();
    app_utils::take(app::hands_over());
    app::delegates();

    app::inlined::outer();
    app::inlined::outermost();
    app::inlined::maps();
    app::inlined::describes(&widget);
    keep(widget);
    outside();

    app_utils::plain();
    app_utils::wrap::<app::Widget>();
    black_box(());
}

/// A function outside the configured modules into which one of theirs is inlined.
#[inline(never)]
fn outside() {
    app::inlined::stray();
    black_box(());
}

/// Everything that runs on a runtime of two threads, which has ended when this returns.
#[inline(never)]
fn tasks() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let served = tokio::spawn(app::tasks::serve());
        let fetched = tokio::spawn(async {
            let fetch: Pin<&mut (dyn Future<Output = ()> + Send)> = pin!(app::tasks::fetch());
            black_box(fetch).await;
        });
        served.await.expect("a task that does not panic");
        fetched.await.expect("a task that does not panic");
    });
}
