//! A recursion that allocates until its stack ends: the process dies of it as it would without heaptally, and what a handler
//! allocates then, on its alternate stack, is charged or shown, wherever the stack has ended. How much stack the hook takes.
//!
//! Each end is that of a child, which is this program again.

#[cfg(not(heaptally_portable))]
#[path = "common/bump.rs"]
mod bump;
#[cfg(not(heaptally_portable))]
#[path = "common/conserved.rs"]
mod conserved;

#[cfg(heaptally_portable)]
fn main() {}

#[cfg(not(heaptally_portable))]
fn main() {
    on_linux::main();
}

#[cfg(not(heaptally_portable))]
mod on_linux {
    use std::alloc::{GlobalAlloc, Layout, alloc, dealloc};
    use std::ffi::{c_int, c_void};
    use std::hint::black_box;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;
    use std::{env, mem, ptr, thread};

    use heaptally::{Config, Counts, SiteKind, Symbolize, TallyAlloc};

    use crate::bump::Bump;
    use crate::conserved::quiet_snapshot;

    /// An allocator that a handler may interrupt, and that takes next to no stack.
    #[global_allocator]
    static ALLOC: TallyAlloc<Bump> = TallyAlloc::new(Bump);

    const STACK_BYTES: usize = 256 << 10;
    /// In a handler.
    const BLOCKS: u64 = 10;
    /// The hook's stack below the allocator's own frame, at most.
    const MOST_BYTES: usize = 16 << 10;

    /// A child, and what it does.
    const CHILDREN: [(&str, fn()); 4] = [
        ("before the start", || overflow::<16>()),
        ("tracking", || {
            start(Symbolize::Off);
            overflow::<16>();
        }),
        // The stack ends in the hook, which is further in; and in a frame of the program's that is larger than what the
        // hook takes.
        ("handler, in the hook", || handled::<16>(true)),
        ("handler, in the program", || handled::<MOST_BYTES>(false)),
    ];

    pub(crate) fn main() {
        let arguments: Vec<String> = env::args().skip(1).collect();
        if let [first, name] = &arguments[..]
            && first == "--child"
        {
            let (_, child) = CHILDREN.into_iter().find(|(known, _)| known == name).expect("a child");
            // SAFETY: no conditions. Ends what hangs, with a signal.
            unsafe { libc::alarm(60) };
            return child();
        }
        for (name, _) in CHILDREN {
            let mut child = Command::new(env::current_exe().expect("a path"));
            let output = child.args(["--child", name]).output().expect("a child");
            let errors = String::from_utf8_lossy(&output.stderr);
            println!("{name}: {}\n{}", output.status, errors.trim());
            if name.starts_with("handler") {
                assert!(output.status.success(), "{name}: {}\n{errors}", output.status);
                continue;
            }
            // What std does, whose handler runs on a stack of a few pages.
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{name}: {errors}");
            assert!(
                errors.contains("thread 'deep'") && errors.contains("has overflowed its stack"),
                "{name}: {errors}"
            );
        }
        the_hook_takes_little_stack();
    }

    fn start(symbolize: Symbolize) {
        heaptally::start(Config::new().modules(["stack_overflow"]).symbolize(symbolize)).expect("installed");
    }

    static DEPTH: AtomicU64 = AtomicU64::new(0);

    /// A block of 24 bytes in each frame, until there is no stack any more.
    #[inline(never)]
    #[allow(unconditional_recursion, reason = "until the stack ends")]
    fn recurse<const ROOM_BYTES: usize>() {
        let room = black_box([0_u8; ROOM_BYTES]);
        // SAFETY: not of zero size.
        black_box(unsafe { alloc(black_box(Layout::new::<[u64; 3]>())) });
        DEPTH.fetch_add(1, Ordering::SeqCst);
        recurse::<ROOM_BYTES>();
        black_box(&room);
    }

    fn overflow<const ROOM_BYTES: usize>() {
        let deep = thread::Builder::new().name("deep".to_owned()).stack_size(STACK_BYTES);
        deep.spawn(recurse::<ROOM_BYTES>).expect("a thread").join().expect("it never ends");
    }

    static IS_HANDLED: AtomicBool = AtomicBool::new(false);

    extern "C" fn on_overflow(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        in_handler();
        IS_HANDLED.store(true, Ordering::SeqCst);
        loop {
            // SAFETY: waits; the process ends meanwhile.
            unsafe { libc::pause() };
        }
    }

    /// Blocks of 40 bytes, every other of which is freed.
    #[inline(never)]
    fn in_handler() {
        let layout = black_box(Layout::new::<[u64; 5]>());
        for number in 0..BLOCKS {
            // SAFETY: not of zero size; freed once, with its layout.
            unsafe {
                let block = black_box(alloc(layout));
                if number % 2 == 0 {
                    dealloc(block, layout);
                }
            }
        }
    }

    /// On an alternate stack that std has made for its own handler.
    fn handled<const ROOM_BYTES: usize>(in_hook: bool) {
        start(Symbolize::Full);
        // SAFETY: a zeroed sigaction is valid; the handler has the type that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = on_overflow as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut()), 0);
        }
        thread::spawn(overflow::<ROOM_BYTES>);
        while !IS_HANDLED.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        // The operation that the stack ended in, if it did, had not begun to count: what comes before takes more stack.
        let snapshot = quiet_snapshot().expect("rows add up");
        let counts_of = |function: &str| snapshot.function(function).map_or(Counts::ZERO, |row| row.counts());
        let depth = DEPTH.load(Ordering::SeqCst);
        assert!(depth >= 3, "{depth}");
        let blocks = Counts { allocated_blocks: depth, allocated_bytes: 24 * depth, ..Counts::ZERO };
        assert_eq!(counts_of("stack_overflow::on_linux::recurse"), blocks);
        let of_handler = Counts {
            allocated_blocks: BLOCKS,
            allocated_bytes: 40 * BLOCKS,
            freed_blocks: BLOCKS / 2,
            freed_bytes: 20 * BLOCKS,
        };
        let (row, none) = ("stack_overflow::on_linux::in_handler", SiteKind::NoStack.label());
        let (charged, empty) = if in_hook { (none, row) } else { (row, none) };
        eprintln!("{depth} frames, the handler's blocks in {charged}");
        assert_eq!((counts_of(charged), counts_of(empty)), (of_handler, Counts::ZERO));
        assert_eq!(snapshot.losses().no_stack_nested, if in_hook { BLOCKS } else { 0 });
        assert_eq!(snapshot.losses().abandoned, 0);
    }

    /// Says how far below the frame that calls it `operation` has written, on a new thread each time.
    fn stack_bytes(operation: fn()) -> usize {
        const PAINT: u8 = 0xA5;
        extern "C" fn run(operation: *mut c_void) -> *mut c_void {
            // SAFETY: the function that was passed.
            let operation = unsafe { mem::transmute::<*mut c_void, fn()>(operation) };
            operation();
            ptr::without_provenance_mut(black_box(&operation) as *const _ as usize)
        }
        // SAFETY: fresh memory, which outlives the thread, is its stack; it is read when the thread has ended.
        unsafe {
            let fresh = libc::PROT_READ | libc::PROT_WRITE;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let stack = libc::mmap(ptr::null_mut(), STACK_BYTES, fresh, kind, -1, 0).cast::<u8>();
            assert_ne!(stack.cast(), libc::MAP_FAILED);
            stack.write_bytes(PAINT, STACK_BYTES);
            let mut attributes = mem::zeroed();
            assert_eq!(libc::pthread_attr_init(&mut attributes), 0);
            assert_eq!(libc::pthread_attr_setstack(&mut attributes, stack.cast(), STACK_BYTES), 0);
            let (mut thread, mut frame) = (0, ptr::null_mut());
            assert_eq!(libc::pthread_create(&mut thread, &attributes, run, operation as *mut c_void), 0);
            assert_eq!(libc::pthread_join(thread, &mut frame), 0);
            let untouched = (0..STACK_BYTES).position(|at| *stack.add(at) != PAINT).expect("a frame");
            assert_eq!(libc::munmap(stack.cast(), STACK_BYTES), 0);
            frame.addr() - (stack.addr() + untouched)
        }
    }

    /// A thread's first block, more of them, a larger one, and their frees.
    fn allocate_with(allocator: &impl GlobalAlloc) {
        let (small, large) = (Layout::new::<[u64; 3]>(), Layout::new::<[u64; 200]>());
        // SAFETY: not of zero size; freed once, with their layouts.
        unsafe {
            for _ in 0..3 {
                let block = black_box(allocator.alloc(black_box(small)));
                let block = black_box(allocator.realloc(block, small, large.size()));
                allocator.dealloc(block, Layout::from_size_align_unchecked(large.size(), small.align()));
            }
        }
    }

    fn the_hook_takes_little_stack() {
        let without = || allocate_with(&Bump);
        let with = || allocate_with(&ALLOC);
        let off = (stack_bytes(without), stack_bytes(with));
        start(Symbolize::Off);
        let on = (stack_bytes(without), stack_bytes(with));
        println!("bytes of stack without and with the hook: {off:?} before the start, {on:?} tracking");
        for (without, with) in [off, on] {
            assert!(with - without <= MOST_BYTES, "{with} bytes of stack, {without} without the hook");
        }
    }
}
