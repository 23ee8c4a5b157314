//! How many frames an allocation of the pairs has on its stack, in the release profile; and that it is the same stack in
//! every lap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Notes the stack of the first block of 95 bytes, a size that only the pairs allocate, and compares the others with it.
struct Watch;

#[global_allocator]
static ALLOC: Watch = Watch;

static FRAMES: AtomicUsize = AtomicUsize::new(0);
static IPS: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];
static STACKS: AtomicUsize = AtomicUsize::new(0);
static OTHER_STACKS: AtomicUsize = AtomicUsize::new(0);

fn note_stack() {
    let mut ips = [0; 256];
    let mut frames = 0;
    backtrace::trace(|frame| {
        // The thread's root has no caller, and is followed by a frame at zero.
        let ip = frame.ip() as usize;
        if ip != 0 {
            ips[frames] = ip;
            frames += 1;
        }
        ip != 0
    });
    let first = STACKS.fetch_add(1, Ordering::Relaxed) == 0;
    if first {
        FRAMES.store(frames, Ordering::Relaxed);
        IPS.iter().zip(ips).for_each(|(noted, ip)| noted.store(ip, Ordering::Relaxed));
    } else if IPS.iter().zip(ips).any(|(noted, ip)| noted.load(Ordering::Relaxed) != ip) {
        OTHER_STACKS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on unchanged to `System`, which keeps the contract. The backtrace allocates nothing of
// 95 bytes, so `alloc` is not entered twice for its sake.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() == 95 {
            note_stack();
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block was allocated above, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

fn frames_of(workload: &str) -> usize {
    STACKS.store(0, Ordering::Relaxed);
    workloads::lap(workload);
    // The warm-up and the lap, each with 64 times this size.
    assert_eq!(STACKS.load(Ordering::Relaxed), 2 * 64);
    assert_eq!(OTHER_STACKS.load(Ordering::Relaxed), 0);
    let names: Vec<String> =
        IPS[..FRAMES.load(Ordering::Relaxed)].iter().map(|ip| name(ip.load(Ordering::Relaxed))).collect();
    println!("{workload}: {names:#?}");
    let allocator = names.iter().rposition(|name| name.contains("GlobalAlloc") || name.contains("rust_alloc"));
    names.len() - allocator.map_or(0, |frame| frame + 1)
}

fn name(ip: usize) -> String {
    let mut name = String::new();
    // Inlined functions come first, and the function that has the frame last.
    backtrace::resolve(ip as *mut c_void, |symbol| {
        name = symbol.name().map_or(String::new(), |name| name.to_string());
    });
    name
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "only the release profile has the frames that are measured: cargo test --release"
)]
fn pairs_have_the_frames_of_their_names() {
    assert_eq!(frames_of("pairs33"), 33);
    assert_eq!(frames_of("pairs73"), 73);
}
