//! A library with a heaptally of its own, in a program that has another: neither counts what the other's allocator is asked
//! for. Unloaded, it leaves nothing that a thread would run at its end; once it has started to track, it stays.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::env;
use std::ffi::{CStr, CString, c_void};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const THREADS: usize = 4;
const LOADS: usize = 10;
/// Of each thread and load; every other one is freed.
const BLOCKS: usize = 10;
const BLOCK_BYTES: u64 = 40;

/// The library as it was loaded. Not unloaded when dropped.
#[derive(Clone, Copy)]
struct Plugin {
    handle: *mut c_void,
    allocate: extern "C" fn() -> *mut u8,
    free: unsafe extern "C" fn(*mut u8),
    live_bytes: extern "C" fn() -> u64,
    start: extern "C" fn() -> bool,
    allocated_blocks: extern "C" fn() -> u64,
}

// SAFETY: functions, which may be called on any thread.
unsafe impl Send for Plugin {}
// SAFETY: as above.
unsafe impl Sync for Plugin {}

impl Plugin {
    fn load(path: &CStr) -> Self {
        // SAFETY: the library does nothing when it is loaded; its functions have these types.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            assert!(!handle.is_null(), "{:?}", CStr::from_ptr(libc::dlerror()));
            let function = |name: &CStr| {
                let address = libc::dlsym(handle, name.as_ptr());
                assert!(!address.is_null(), "{name:?}");
                address
            };
            Self {
                handle,
                allocate: mem::transmute::<*mut c_void, extern "C" fn() -> *mut u8>(function(c"plugin_allocate")),
                free: mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut u8)>(function(c"plugin_free")),
                live_bytes: mem::transmute::<*mut c_void, extern "C" fn() -> u64>(function(c"plugin_live_bytes")),
                start: mem::transmute::<*mut c_void, extern "C" fn() -> bool>(function(c"plugin_start")),
                allocated_blocks: mem::transmute::<*mut c_void, extern "C" fn() -> u64>(function(
                    c"plugin_allocated_blocks",
                )),
            }
        }
    }

    /// # Safety
    ///
    /// As often as it was loaded. Nobody calls it afterwards.
    unsafe fn unload(self) {
        // SAFETY: the caller's.
        assert_eq!(unsafe { libc::dlclose(self.handle) }, 0);
    }

    /// Every other block is freed. Counts nothing in the program.
    fn allocate(self) {
        let ((), counted) = heaptally::measure(|| {
            for number in 0..BLOCKS {
                let block = (self.allocate)();
                if number % 2 == 0 {
                    // SAFETY: allocated just now.
                    unsafe { (self.free)(block) };
                }
            }
        });
        assert_eq!(counted, Counts::ZERO);
    }
}

fn is_loaded(path: &CStr) -> bool {
    // SAFETY: loads nothing; a handle is given back.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD);
        !handle.is_null() && libc::dlclose(handle) == 0
    }
}

/// Builds the library beside this program, as this program was built.
fn build() -> CString {
    let program = env::current_exe().expect("a file");
    let folder = program.parent().and_then(|deps| deps.parent()).expect("a folder of cargo's").to_owned();
    let target = folder.parent().expect("a folder of cargo's");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--package", "heaptally-tests", "--example", "tallying"]);
    cargo.arg("--manifest-path").arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    cargo.arg("--target-dir").arg(target);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.status().expect("cargo");
    assert!(built.success(), "cargo build: {built}");
    let library = folder.join("examples/libtallying.so");
    CString::new(library.as_os_str().as_bytes()).expect("no zero")
}

#[test]
fn a_plugin_with_a_heaptally_of_its_own_comes_and_goes() {
    let path = build();
    watchdog::abort_unless_done_in(Duration::from_secs(60), "tallying_plugin");
    heaptally::start(Config::new().modules(["tallying_plugin"])).unwrap();
    for _ in 0..LOADS {
        threads_end_after_the_library(&path);
    }
    quiet_snapshot().unwrap();
    a_library_that_tracks_stays(&path);
    quiet_snapshot().unwrap();
}

/// Each thread has a state in the library when it ends, and there is no library any more.
fn threads_end_after_the_library(path: &CStr) {
    let (used, gone) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let plugin = Plugin::load(path);
                    plugin.allocate();
                    used.wait();
                    // SAFETY: this thread's load, and nobody's calls.
                    unsafe { plugin.unload() };
                    gone.wait();
                })
            })
            .collect();
        let plugin = Plugin::load(path);
        used.wait();
        let live = (THREADS * BLOCKS / 2) as u64 * BLOCK_BYTES;
        assert_eq!((plugin.live_bytes)(), live);
        // SAFETY: as above.
        unsafe { plugin.unload() };
        gone.wait();
        assert!(!is_loaded(path));
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

fn a_library_that_tracks_stays(path: &CStr) {
    let plugin = Plugin::load(path);
    assert!((plugin.start)());
    thread::scope(|scope| (0..THREADS).for_each(|_| _ = scope.spawn(|| plugin.allocate())));
    let blocks = (THREADS * BLOCKS) as u64;
    assert_eq!((plugin.allocated_blocks)(), blocks);
    // SAFETY: as above; what is called below is loaded again, or still.
    unsafe { plugin.unload() };
    // Its aggregator has something to do four times a second.
    thread::sleep(Duration::from_millis(600));
    let again = Plugin::load(path);
    assert_eq!((again.allocated_blocks)(), blocks);
    again.allocate();
    assert_eq!((again.allocated_blocks)(), blocks + BLOCKS as u64);
}
