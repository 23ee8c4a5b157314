//! A system that refuses threads: `start` fails and can be repeated, `every` says why it has no beats.
//!
//! The program's own `pthread_create` takes the place of libc's, also for std.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use std::{mem, thread};

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, ModuleError, SiteKind, StartError, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

static REFUSING: AtomicBool = AtomicBool::new(false);
static REFUSED: AtomicU32 = AtomicU32::new(0);

type Body = extern "C" fn(*mut c_void) -> *mut c_void;
type PthreadCreate =
    unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Body, *mut c_void) -> c_int;

/// # Safety
///
/// As libc's.
// SAFETY: has the signature of the function whose place it takes, and does what that one does, or fails as it may.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    body: Body,
    argument: *mut c_void,
) -> c_int {
    if REFUSING.load(Ordering::SeqCst) {
        REFUSED.fetch_add(1, Ordering::SeqCst);
        return libc::EAGAIN;
    }
    // SAFETY: libc has a function of this name and type; the caller keeps its promises.
    unsafe {
        let next = libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr());
        mem::transmute::<*mut c_void, PthreadCreate>(next)(thread, attributes, body, argument)
    }
}

fn while_refusing<R>(f: impl FnOnce() -> R) -> R {
    REFUSING.store(true, Ordering::SeqCst);
    let result = f();
    REFUSING.store(false, Ordering::SeqCst);
    result
}

#[inline(never)]
fn keep() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(1234)))
}

const KEPT: Counts = Counts { allocated_blocks: 1, allocated_bytes: 1234, ..Counts::ZERO };

#[test]
fn refused_threads_are_errors_and_a_second_try_succeeds() {
    start_fails_and_can_be_repeated();
    every_says_why_it_has_no_beats();
    a_child_without_an_aggregator_has_exact_totals();
}

fn start_fails_and_can_be_repeated() {
    let config = || Config::new().modules(["thread_refused"]);
    let error = while_refusing(|| heaptally::start(config())).unwrap_err();
    assert!(matches!(error, StartError::Thread(_)));
    assert_eq!(REFUSED.load(Ordering::SeqCst), 1);
    let text = error.to_string();
    assert!(text.starts_with("the aggregator thread could not be created ("), "{text}");
    assert!(text.ends_with("; raise the limit of threads and start again"), "{text}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(heaptally::tally().is_none());
    quiet_snapshot().unwrap();
    assert_eq!(heaptally::measure(keep).1, KEPT);

    heaptally::start(config()).unwrap();
    let kept = keep();
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(snapshot.function("thread_refused::keep").unwrap().counts(), KEPT);
    drop(kept);
}

fn every_says_why_it_has_no_beats() {
    let tally = heaptally::tally().unwrap();
    let beats = std::sync::Arc::new(AtomicU32::new(0));
    let counting = || {
        let beats = beats.clone();
        move |_: &heaptally::Tick<'_>| _ = beats.fetch_add(1, Ordering::SeqCst)
    };
    let refused = while_refusing(|| tally.every(Duration::from_millis(1), counting()));
    assert_eq!(refused.failure().map(|error| error.raw_os_error()), Some(Some(libc::EAGAIN)));
    let running = tally.every(Duration::from_millis(1), counting());
    assert!(running.failure().is_none());
    drop(refused);
    while beats.load(Ordering::SeqCst) < 3 {
        thread::sleep(Duration::from_millis(1));
    }
}

fn a_child_without_an_aggregator_has_exact_totals() {
    let outcome = child::run(|| {
        let refused = while_refusing(heaptally::snapshot);
        let tally = heaptally::tally().unwrap();
        let modules = while_refusing(|| tally.set_modules(["std"]));
        let not_set = matches!(modules, Err(ModuleError::NoAggregator));
        let one_row = refused.sites().len() == 1 && refused.sites()[0].kind() == SiteKind::NoStack;
        let exact = refused.check().is_ok() && refused.totals().counts() == refused.sites()[0].counts();
        let told = refused.notes().iter().any(|note| note.contains("aggregator"));
        // With a thread it has rows again, and modules.
        let served = quiet_snapshot()?.sites().len() > 1;
        let set = tally.set_modules(["thread_refused"]).is_ok();
        if not_set && one_row && exact && told && served && set { Ok(0) } else { Err(refused.to_string()) }
    });
    assert_eq!(outcome, Ok(0));
}
