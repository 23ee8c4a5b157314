//! Code that was made at run time, as by a compiler just in time, and told to the unwinder: stacks through it are whole, by
//! the platform's unwinder, and counted as such.
//! libgcc looks for such code under a lock, which a forked child may find held for ever: there its stacks are not taken.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;

use std::ffi::c_void;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{ptr, thread};

use heaptally::{Config, Counts, SiteKind, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

unsafe extern "C" {
    fn __register_frame(eh_frame: *const c_void);
    fn __deregister_frame(eh_frame: *const c_void);
}

type Call = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void);

/// `sub rsp, 8`, `mov rax, rdi`, `mov rdi, rsi`, `call rax`, `add rsp, 8`, `ret`.
const CODE: [u8; 17] = [0x48, 0x83, 0xEC, 8, 0x48, 0x89, 0xF8, 0x48, 0x89, 0xF7, 0xFF, 0xD0, 0x48, 0x83, 0xC4, 8, 0xC3];
const PAGE_BYTES: usize = 4096;

/// A page of code, which calls what it is given.
struct Code {
    page: *mut c_void,
    eh_frame: Vec<u8>,
}

impl Code {
    fn new() -> Self {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a mapping of its own, written before it is run.
        let page = unsafe {
            let page = libc::mmap(ptr::null_mut(), PAGE_BYTES, access, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            page.cast::<[u8; CODE.len()]>().write(CODE);
            assert_eq!(libc::mprotect(page, PAGE_BYTES, libc::PROT_READ | libc::PROT_EXEC), 0);
            page
        };
        // A CIE: version 1, no augmentation, 1, -8, register 16; the frame address is rsp + 8, the return address below it.
        let mut eh_frame = Vec::from(20_u32.to_le_bytes());
        eh_frame.extend([0, 0, 0, 0, 1, 0, 1, 0x78, 16, 0x0C, 7, 8, 0x90, 1, 0, 0, 0, 0, 0, 0]);
        // Its FDE: after four bytes of code the frame address is rsp + 16, at the last one rsp + 8.
        eh_frame.extend(28_u32.to_le_bytes());
        eh_frame.extend(28_u32.to_le_bytes());
        eh_frame.extend((page.addr() as u64).to_le_bytes());
        eh_frame.extend((CODE.len() as u64).to_le_bytes());
        eh_frame.extend([0x44, 0x0E, 16, 0x4C, 0x0E, 8, 0, 0]);
        // The end.
        eh_frame.extend([0; 4]);
        // SAFETY: what is said of the code, which stays until it is taken back.
        unsafe { __register_frame(eh_frame.as_ptr().cast()) };
        Self { page, eh_frame }
    }

    fn through(&self, f: extern "C" fn(*mut c_void)) {
        // SAFETY: the code has this signature, and calls `f` with its second argument.
        unsafe { std::mem::transmute::<*mut c_void, Call>(self.page)(f, ptr::null_mut()) }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: registered by `new`; no frame of the code is left.
        unsafe {
            __deregister_frame(self.eh_frame.as_ptr().cast());
            libc::munmap(self.page, PAGE_BYTES);
        }
    }
}

#[inline(never)]
extern "C" fn leaf(_: *mut c_void) {
    drop(black_box(Box::new(black_box([0_u64; 3]))));
}

#[inline(never)]
fn around(code: &Code) {
    code.through(leaf);
    black_box(());
}

/// Children that are forked while another thread has the lock most of the time.
const CHILDREN: usize = 1000;

#[test]
fn stacks_through_registered_code_are_whole_and_not_asked_for_in_a_child() {
    let code = Code::new();
    heaptally::start(Config::new().modules(["registered_code"])).unwrap();
    (0..100).for_each(|_| around(&code));
    let snapshot = heaptally::snapshot();
    assert_eq!(snapshot.check(), Ok(()));
    assert!(snapshot.captures().registered_code >= 100, "{:?}", snapshot.captures());
    let whole = snapshot.sites().iter().filter(|site| {
        let names = || site.frames().flat_map(|frame| frame.lines.iter()).map(|line| &*line.function);
        ["registered_code::leaf", "registered_code::around"].iter().all(|wanted| names().any(|name| name == *wanted))
    });
    assert_eq!(whole.map(|site| site.counts().allocated_blocks).sum::<u64>(), 100);

    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let other = Code::new();
            while !is_over.load(Ordering::Relaxed) {
                // SAFETY: nothing of it is on a stack, and it is registered again.
                unsafe {
                    __deregister_frame(other.eh_frame.as_ptr().cast());
                    __register_frame(other.eh_frame.as_ptr().cast());
                }
            }
        });
        let through = || {
            around(&code);
            Ok(0)
        };
        let failed = (0..CHILDREN).find_map(|_| child::run(through).err());
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(failed, None);
    });
    let counted = child::run(|| {
        (0..3).for_each(|_| around(&code));
        let snapshot = heaptally::snapshot();
        snapshot.check().map_err(|violation| violation.to_string())?;
        let row = snapshot.by_function().into_iter().find(|row| row.kind() == SiteKind::NoStack);
        let counts = row.map_or(Counts::ZERO, |row| row.counts());
        if counts == (Counts { allocated_blocks: 3, allocated_bytes: 72, freed_blocks: 3, freed_bytes: 72 }) {
            return Ok(0);
        }
        Err(format!("{counts:?}"))
    });
    assert_eq!(counted, Ok(0));
}
