//! Threads that read the heap while they end, in the destructors of thread-locals and of pthread keys; and threads that
//! do not allocate before those of keys.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::cell::RefCell;
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Symbolize, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const THREADS: usize = 20;
/// glibc calls the destructors of keys that are set again so often.
const ROUNDS: usize = 4;

static READINGS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static READS: RefCell<Option<Reads>> = const { RefCell::new(None) };
}

struct Reads;

impl Drop for Reads {
    fn drop(&mut self) {
        read();
    }
}

/// Also on a thread that has given its state back.
fn read() {
    assert_eq!(heaptally::snapshot().check(), Ok(()));
    heaptally::tally().expect("started").set_modules(["thread_exit"]).expect("an aggregator");
    READINGS.fetch_add(1, Ordering::SeqCst);
}

type Destructor = unsafe extern "C" fn(*mut c_void);

/// Calls `destructor` with `value`, not zero, when the calling thread ends.
fn set_key(key: &OnceLock<libc::pthread_key_t>, destructor: Destructor, value: *mut c_void) {
    let key = *key.get_or_init(|| {
        let mut key = 0;
        // SAFETY: writes the key; the destructor has the required signature.
        assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) }, 0);
        key
    });
    // SAFETY: a live key.
    assert_eq!(unsafe { libc::pthread_setspecific(key, value) }, 0);
}

fn read_in_rounds(rounds_left: *mut c_void) {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    unsafe extern "C" fn destructor(rounds_left: *mut c_void) {
        read();
        if rounds_left.addr() > 1 {
            read_in_rounds(rounds_left.map_addr(|rounds| rounds - 1));
        }
    }
    set_key(&KEY, destructor, rounds_left);
}

extern "C" fn allocate_in_destructor(_: *mut c_void) -> *mut c_void {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    unsafe extern "C" fn destructor(_: *mut c_void) {
        drop(black_box(Box::new(black_box(7_u64))));
    }
    set_key(&KEY, destructor, ptr::without_provenance_mut(1));
    ptr::null_mut()
}

/// Runs `body` on a thread of libc's, of which std knows nothing, to its end.
fn on_bare_thread(body: extern "C" fn(*mut c_void) -> *mut c_void) {
    let mut thread = 0;
    // SAFETY: the body has the required type; the thread is joined, once.
    unsafe {
        assert_eq!(libc::pthread_create(&raw mut thread, ptr::null(), body, ptr::null_mut()), 0);
        assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
    }
}

#[test]
fn ending_threads_read_the_heap_and_give_their_states_back() {
    watchdog::abort_unless_done_in(Duration::from_secs(60), "thread_exit");
    heaptally::start(Config::new().modules(["thread_exit"]).symbolize(Symbolize::Off)).unwrap();
    for _ in 0..THREADS {
        let ended = thread::spawn(|| {
            READS.set(Some(Reads));
            read_in_rounds(ptr::without_provenance_mut(ROUNDS));
        });
        ended.join().unwrap();
    }
    assert_eq!(READINGS.load(Ordering::SeqCst), THREADS * (1 + ROUNDS));
    quiet_snapshot().unwrap();

    // The first one sets the key up, younger than heaptally's.
    on_bare_thread(allocate_in_destructor);
    let before = quiet_snapshot().unwrap().overhead().threads;
    (0..THREADS).for_each(|_| on_bare_thread(allocate_in_destructor));
    assert_eq!(quiet_snapshot().unwrap().overhead().threads, before);
}
