//! A process that ends while its threads allocate, a snapshot is being made and a subscriber is at work: it ends at once,
//! with the status that it would have without heaptally, and what it runs at its end may allocate and read the heap.
//!
//! Each end is that of a child, which is this program again.

use std::process::ExitCode;

#[cfg(heaptally_portable)]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(not(heaptally_portable))]
fn main() -> ExitCode {
    on_linux::main()
}

#[cfg(not(heaptally_portable))]
mod on_linux {
    use std::ffi::c_int;
    use std::hint::black_box;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{self, Child, Command, ExitCode, ExitStatus, Stdio};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;
    use std::{env, panic, thread};

    use heaptally::{Config, Counts, Symbolize, Tally, TallyAlloc};
    use heaptally_tests::stacks;

    #[global_allocator]
    static ALLOC: TallyAlloc = TallyAlloc::system();

    /// First argument of a child; how it ends, and what it does meanwhile, follow.
    const CHILD: &str = "--child";
    const STATUS: u8 = 7;
    const ALLOCATORS: u64 = 3;
    /// Of a child, on a busy machine. Without a deadlock it takes the time of a panic's stack, or of a first snapshot.
    const LIMIT_SECONDS: u32 = 60;

    /// Threads that have allocated, and snapshots that were begun, and made.
    static ALLOCATING: AtomicU64 = AtomicU64::new(0);
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    static MADE: AtomicU64 = AtomicU64::new(0);

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Return,
        /// Another thread than `main`'s calls `exit`.
        ExitElsewhere,
        Exit,
        ExitAtOnce,
        QuickExit,
        Abort,
        /// As with `panic = "abort"`: what is printed is printed, and the process aborts.
        Panic,
        /// A panic where none may pass.
        PanicInC,
    }

    const ENDS: [End; 8] = [
        End::Return,
        End::ExitElsewhere,
        End::Exit,
        End::ExitAtOnce,
        End::QuickExit,
        End::Abort,
        End::Panic,
        End::PanicInC,
    ];

    /// What is going on at the end.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Meanwhile {
        /// The first snapshot, which reads names and takes long.
        First,
        /// One after the other, and beats of a subscriber.
        Many,
    }

    impl End {
        fn is_expected(self, status: ExitStatus) -> bool {
            match self {
                Self::Abort | Self::Panic | Self::PanicInC => status.signal() == Some(libc::SIGABRT),
                _ => status.code() == Some(STATUS.into()),
            }
        }

        /// What the functions print that are to be called at the end.
        fn marks(self) -> &'static str {
            match self {
                // The one that was registered last comes first.
                Self::Return | Self::Exit | Self::ExitElsewhere => "started, not started, ",
                Self::QuickExit => "quick, ",
                Self::ExitAtOnce | Self::Abort | Self::Panic | Self::PanicInC => "",
            }
        }
    }

    pub(crate) fn main() -> ExitCode {
        let arguments: Vec<String> = env::args().skip(1).collect();
        if let [first, end, meanwhile] = &arguments[..]
            && first == CHILD
        {
            let end = ENDS.into_iter().find(|known| format!("{known:?}") == *end).expect("an end");
            let known = [Meanwhile::First, Meanwhile::Many];
            return child(
                end,
                known.into_iter().find(|known| format!("{known:?}") == *meanwhile).expect("one of them"),
            );
        }
        // What is called at the end waits for the first snapshot, since it asks for one, too: once is enough.
        let first = [End::Return, End::ExitAtOnce].map(|end| (end, Meanwhile::First));
        let all = ENDS.map(|end| (end, Meanwhile::Many)).into_iter().chain(first);
        // All at once.
        let children: Vec<_> = all.map(|(end, meanwhile)| (end, meanwhile, start(end, meanwhile))).collect();
        for (end, meanwhile, child) in children {
            let (status, printed, errors) = wait(child);
            println!("{end:?}, {meanwhile:?}: {status}");
            assert!(end.is_expected(status), "{end:?}, {meanwhile:?}: {status}\n{printed}{errors}");
            assert_eq!(printed, end.marks(), "{end:?}, {meanwhile:?}: {errors}");
            assert_eq!(errors.contains("the end"), end == End::Panic || end == End::PanicInC, "{errors}");
        }
        ExitCode::SUCCESS
    }

    fn start(end: End, meanwhile: Meanwhile) -> Child {
        let mut child = Command::new(env::current_exe().expect("a path"));
        child.args([CHILD, &format!("{end:?}"), &format!("{meanwhile:?}")]);
        // The panic prints its stack: it looks names up, and allocates.
        child
            .env("RUST_BACKTRACE", if end == End::Panic { "1" } else { "0" })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        child.spawn().expect("a child")
    }

    fn wait(child: Child) -> (ExitStatus, String, String) {
        let output = child.wait_with_output().expect("its end");
        let [printed, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
        (output.status, printed, errors)
    }

    unsafe extern "C" {
        fn at_quick_exit(call: extern "C" fn()) -> c_int;
        fn quick_exit(status: c_int) -> !;
    }

    fn child(end: End, meanwhile: Meanwhile) -> ExitCode {
        // SAFETY: no conditions. The signal ends the process, with a status that is none of those expected, also when nobody
        // waits for it any more.
        unsafe { libc::alarm(LIMIT_SECONDS) };
        // SAFETY: the functions have the type that is asked for.
        unsafe {
            assert_eq!(libc::atexit(not_started), 0);
            let symbolize = if meanwhile == Meanwhile::First { Symbolize::Full } else { Symbolize::Off };
            let config = Config::new().modules(["process_end"]).symbolize(symbolize);
            let tally = heaptally::start(config).expect("installed");
            assert_eq!((libc::atexit(started), at_quick_exit(quick)), (0, 0));
            keep_going(tally, meanwhile);
        }
        match end {
            End::Return => ExitCode::from(STATUS),
            End::ExitElsewhere => {
                thread::spawn(|| process::exit(STATUS.into()));
                loop {
                    thread::park();
                }
            }
            End::Exit => process::exit(STATUS.into()),
            // SAFETY: ends the process.
            End::ExitAtOnce => unsafe { libc::_exit(STATUS.into()) },
            // SAFETY: ends the process.
            End::QuickExit => unsafe { quick_exit(STATUS.into()) },
            End::Abort => process::abort(),
            End::Panic => {
                let print = panic::take_hook();
                panic::set_hook(Box::new(move |what| {
                    print(what);
                    process::abort();
                }));
                panic!("the end");
            }
            End::PanicInC => {
                extern "C" fn in_c() {
                    panic!("the end");
                }
                in_c();
                unreachable!("no panic passes through C");
            }
        }
    }

    /// Threads that nobody waits for. Returns when all of them are at work.
    fn keep_going(tally: Tally, meanwhile: Meanwhile) {
        for thread in 0..ALLOCATORS {
            thread::spawn(move || {
                ALLOCATING.fetch_add(1, Ordering::SeqCst);
                for n in thread as usize.. {
                    stacks::at(n, 4, &mut || drop(black_box(vec![0_u8; 1 + n % 500])));
                    if n % 64 == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
        if meanwhile == Meanwhile::Many {
            tally.every(Duration::from_millis(1), |tick| assert_eq!(tick.snapshot.check(), Ok(()))).detach();
        }
        thread::spawn(move || {
            loop {
                BEGUN.fetch_add(1, Ordering::SeqCst);
                assert_eq!(tally.snapshot().check(), Ok(()));
                MADE.fetch_add(1, Ordering::SeqCst);
                // Leaves the processor to the others.
                thread::sleep(Duration::from_millis(1));
            }
        });
        let is_ready = || match meanwhile {
            Meanwhile::First => BEGUN.load(Ordering::SeqCst) > 0,
            Meanwhile::Many => MADE.load(Ordering::SeqCst) > 2,
        };
        while ALLOCATING.load(Ordering::SeqCst) < ALLOCATORS || !is_ready() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    extern "C" fn not_started() {
        at_the_end("not started, ");
    }

    extern "C" fn started() {
        at_the_end("started, ");
    }

    extern "C" fn quick() {
        at_the_end("quick, ");
    }

    /// Among what `exit` calls: allocates, on a thread, too, and reads the heap. A panic aborts.
    fn at_the_end(mark: &'static str) {
        let (kept, counted) = heaptally::measure(|| black_box(Vec::<u8>::with_capacity(black_box(100))));
        assert_eq!(counted, Counts { allocated_blocks: 1, allocated_bytes: 100, ..Counts::ZERO });
        thread::spawn(move || drop(kept)).join().expect("no panic");
        assert_eq!(heaptally::snapshot().check(), Ok(()));
        // SAFETY: writes bytes that exist.
        unsafe { libc::write(libc::STDOUT_FILENO, mark.as_ptr().cast(), mark.len()) };
    }
}
