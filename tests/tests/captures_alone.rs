//! Taking stacks needs nobody's memory: nothing that the hook does, the compiling of rules included, calls the global
//! allocator, nor, once a thread has taken its first stack, that of C.
//!
//! What C is asked for is seen because the program's `malloc` and its kin come before the C library's.

#[path = "common/bump.rs"]
mod bump;
#[path = "common/captures.rs"]
#[allow(dead_code, reason = "the allocator's own frames are the test's")]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/plugin.rs"]
#[allow(dead_code, reason = "where a library lies is not asked here")]
mod plugin;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::c_void;
use std::hint::black_box;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bump::Bump;
use captures::{Way, snapshot};
use corosensei::{Coroutine, Yielder};
use heaptally::TallyAlloc;
use heaptally_tests::{c_frames, stacks};
use plugin::Plugin;

/// Ends the process when the allocator inside it calls the global allocator, which it is part of.
struct Alone<A>(A);

#[global_allocator]
static ALLOC: Alone<TallyAlloc<Bump>> = Alone(TallyAlloc::new(Bump));

thread_local! {
    /// Whether the thread is in the global allocator.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Whether it has taken a stack.
    static BEGUN: Cell<bool> = const { Cell::new(false) };
}

/// Calls of C's allocator from the global one, at first and later.
static AT_FIRST: AtomicU64 = AtomicU64::new(0);
static LATER: AtomicU64 = AtomicU64::new(0);

impl<A> Alone<A> {
    fn enter<R>(&self, f: impl FnOnce(&A) -> R) -> R {
        if INSIDE.replace(true) {
            let message = "captures_alone: the allocator has called itself\n";
            // SAFETY: writes bytes that exist, and ends the process; a panic would allocate.
            unsafe {
                libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
                libc::abort();
            }
        }
        let result = f(&self.0);
        INSIDE.set(false);
        result
    }
}

// SAFETY: hands everything to the allocator inside; a thread-local without destructor neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Alone<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        self.enter(|inner| unsafe { inner.alloc(layout) })
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        self.enter(|inner| unsafe { inner.dealloc(address, layout) });
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        self.enter(|inner| unsafe { inner.realloc(address, layout, new_size) })
    }
}

unsafe extern "C" {
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, bytes: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, bytes: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
}

fn note_call_of_c() {
    if INSIDE.get() {
        if BEGUN.get() { &LATER } else { &AT_FIRST }.fetch_add(1, Ordering::Relaxed);
    }
}

macro_rules! in_place_of {
    ($($name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)? = $real:ident;)*) => {
        $(
            // SAFETY: the C library's function of this name and type does the work.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $kind),*) $(-> $result)? {
                note_call_of_c();
                // SAFETY: the caller's promise.
                unsafe { $real($($argument),*) }
            }
        )*
    };
}

in_place_of! {
    malloc(bytes: usize) -> *mut c_void = __libc_malloc;
    calloc(count: usize, bytes: usize) -> *mut c_void = __libc_calloc;
    realloc(block: *mut c_void, bytes: usize) -> *mut c_void = __libc_realloc;
    free(block: *mut c_void) = __libc_free;
}

fn main() {
    captures::main(&[("captures need nobody's memory", captures_need_nobodys_memory)]);
}

/// A block of 24 bytes, charged to this function.
#[inline(never)]
fn leaf() {
    drop(black_box(Box::new(black_box([0_u64; 3]))));
}

fn captures_need_nobodys_memory(way: Way) {
    heaptally::start(way.config()).unwrap();
    let body = || {
        captures::some_alike();
        BEGUN.set(true);
        work();
        BEGUN.set(false);
    };
    body();
    thread::spawn(body).join().unwrap();
    // The main thread's bounds are read from a file of the kernel's.
    println!("{} calls of C at first", AT_FIRST.load(Ordering::Relaxed));
    assert_eq!(LATER.load(Ordering::Relaxed), 0);
    // The programs' own malloc is the one above.
    // SAFETY: an address is compared.
    let malloc_of_the_program = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) };
    assert_eq!(malloc_of_the_program.addr(), malloc as *const () as usize);
    // Stacks of Rust, of C, of a coroutine, below a panic, of a library before and after the library was loaded anew.
    let each = 1_000 + c_frames::COUNT as u64 + 4 + 1 + 1 + 2 * 4;
    let snapshot = snapshot(way);
    let through_leaf = snapshot.sites().iter().filter(|site| {
        site.frames().any(|frame| frame.lines.iter().any(|line| &*line.function == "captures_alone::leaf"))
    });
    assert_eq!(through_leaf.map(|site| site.counts().allocated_blocks).sum::<u64>(), 2 * each);
}

/// Call sites that the process has not met, of all kinds.
fn work() {
    (0..1_000).for_each(|number| stacks::at(number, 3, &mut leaf));
    for function in 0..c_frames::COUNT {
        c_frames::through(function, 100, &mut leaf);
    }
    let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|_: &Yielder<(), ()>, ()| leaf());
    coroutine.resume(());
    assert!(
        catch_unwind(|| {
            leaf();
            resume_unwind(Box::new(()))
        })
        .is_err()
    );
    for _ in 0..2 {
        for name in ["small", "large", "small_nameless", "large_nameless"] {
            Plugin::load(name).through(&mut leaf);
        }
    }
}
