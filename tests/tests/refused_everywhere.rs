//! Each mapping of heaptally's own refused in turn, alone and with all after it: every allocation is served, every count
//! is exact, and what was lost is shown.
//!
//! Heaptally's mappings carry MAP_NORESERVE, and nobody else's that come by here. Each place is visited in a process of its
//! own, since the first mapping is made before `main`.

#[cfg(heaptally_portable)]
fn main() {}

#[cfg(not(heaptally_portable))]
fn main() {
    on_linux::main();
}

#[cfg(not(heaptally_portable))]
use on_linux::is_refused;

#[cfg(not(heaptally_portable))]
#[path = "common/own_mmap.rs"]
mod own_mmap;

#[cfg(not(heaptally_portable))]
mod on_linux {
    use std::ffi::{CStr, c_int};
    use std::hint::black_box;
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, Mutex};
    use std::{env, thread};

    use heaptally::{Config, Counts, SiteKind, Snapshot};
    use heaptally_tests::{Block, Watched, assert_conserved, assert_exact, stacks, watched};

    #[global_allocator]
    static ALLOC: Watched = watched();

    /// Which mappings are refused: `7` is the eighth alone, `7-` that and all after it.
    const VARIABLE: &CStr = c"HEAPTALLY_REFUSE";
    const SUMMARY: &str = "mappings: ";
    /// Mappings of the workload below: eleven chunks for the states of its threads, seven in each, one for the table of stacks when
    /// it grows beyond a chunk, the others for counters, rings, frames and rules.
    const LEAST_PLACES: usize = 15;

    const STACKS: usize = 8_000;
    const THREADS: usize = 80;
    const STACKS_OF_A_THREAD: usize = 200;
    const BLOCK_BYTES: usize = 100;

    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static REFUSED: AtomicUsize = AtomicUsize::new(0);

    /// What [`crate::own_mmap`] asks. Allocates nothing.
    pub(crate) fn is_refused(_len: usize, kind: c_int) -> bool {
        if kind & libc::MAP_NORESERVE == 0 {
            return false;
        }
        let is_refused = is_refused_by_number(CALLS.fetch_add(1, Ordering::SeqCst));
        REFUSED.fetch_add(usize::from(is_refused), Ordering::SeqCst);
        is_refused
    }

    fn is_refused_by_number(number: usize) -> bool {
        // SAFETY: nobody changes the environment of a child; a variable is a C string.
        let value = unsafe {
            let value = libc::getenv(VARIABLE.as_ptr());
            if value.is_null() {
                return false;
            }
            CStr::from_ptr(value).to_bytes()
        };
        let (digits, and_all_after) = value.strip_suffix(b"-").map_or((value, false), |digits| (digits, true));
        let first = digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        number == first || and_all_after && number > first
    }

    pub(crate) fn main() {
        if env::var_os(VARIABLE.to_str().expect("ASCII")).is_some() {
            return child();
        }
        let (places, refused) = run("999999");
        assert_eq!(refused, 0);
        assert!(places >= LEAST_PLACES, "{places} mappings");
        let left: Mutex<Vec<String>> =
            Mutex::new((0..places).flat_map(|n| [format!("{n}"), format!("{n}-")]).collect());
        let visited = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let Some(which) = left.lock().expect("no panic under it").pop() else { return };
                        let (_, refused) = run(&which);
                        // Another order of the threads may take one mapping less.
                        visited.fetch_add(usize::from(refused > 0), Ordering::Relaxed);
                    }
                });
            }
        });
        let visited = visited.into_inner();
        println!("{places} mappings, {visited} of {} cases refused some", 2 * places);
        assert!(visited >= 2 * LEAST_PLACES, "{visited} places were visited");
    }

    /// How many mappings a child asked for, and how many of them were refused.
    fn run(which: &str) -> (usize, usize) {
        let program = env::current_exe().expect("a file");
        let variable = VARIABLE.to_str().expect("ASCII");
        let output = Command::new(program).env(variable, which).output().expect("a child");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "with {which} refused: {}\n{said}{complaint}", output.status);
        let summary = said.lines().find_map(|line| line.strip_prefix(SUMMARY)).expect("its summary");
        let numbers: Vec<usize> = summary.split(' ').map(|number| number.parse().expect("a number")).collect();
        (numbers[0], numbers[1])
    }

    fn child() {
        let tally = heaptally::start(Config::new().modules(["refused_everywhere"])).expect("whatever memory there is");
        // Stacks, many of them.
        let (mut kept, counts) = heaptally::measure(|| keep(STACKS));
        let of_vector = (STACKS * size_of::<Block>()) as u64;
        let blocks = STACKS as u64;
        let allocated_bytes = blocks * BLOCK_BYTES as u64 + of_vector;
        let without_state = heaptally::snapshot().losses().threads_without_state > 0;
        assert!(counts == Counts { allocated_blocks: blocks + 1, allocated_bytes, ..Counts::ZERO } || without_state);
        assert_exact("stacks");
        // Threads, many at a time, some of which free what is not theirs.
        let together = Barrier::new(THREADS);
        thread::scope(|scope| {
            for part in kept.chunks_mut(STACKS / THREADS) {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    let own = keep(STACKS_OF_A_THREAD);
                    part.iter_mut().step_by(2).for_each(|block| *block = Block::new(BLOCK_BYTES, 8));
                    together.wait();
                    drop(own);
                });
            }
        });
        assert_exact("threads");
        tally.pause();
        let paused = keep(100);
        tally.resume();
        assert_exact("paused");
        assert!(tally.set_modules(["heaptally_tests"]).is_ok());
        assert_conserved("other modules");
        assert!(tally.set_modules(["refused_everywhere"]).is_ok());
        drop((kept, paused));
        assert_exact("freed");
        let last = assert_conserved("last");
        let refused = REFUSED.load(Ordering::SeqCst);
        assert_eq!(last.losses().failed_mappings, refused as u64);
        settle(&last, refused);
        println!("{SUMMARY}{} {refused}", CALLS.load(Ordering::SeqCst));
    }

    /// A block at each of so many stacks.
    fn keep(count: usize) -> Vec<Block> {
        let mut kept = Vec::with_capacity(count);
        (0..count).for_each(|number| stacks::at(number, 5, &mut || kept.push(leaf())));
        kept
    }

    #[inline(never)]
    fn leaf() -> Block {
        black_box(Block::new(BLOCK_BYTES, 8))
    }

    /// Every block is in the row of its owner, or in one that says that it has none, beside a loss.
    fn settle(last: &Snapshot, refused: usize) {
        let rows = last.by_function();
        let counts = |function| {
            rows.iter().find(|row| row.function() == function).map_or(0, |row| row.counts().allocated_blocks)
        };
        let expected = (STACKS + THREADS * STACKS_OF_A_THREAD) as u64;
        let own = counts("refused_everywhere::on_linux::leaf");
        let without = counts(SiteKind::Overflow.label()) + counts(SiteKind::NoStack.label());
        assert!(own <= expected && own + without >= expected, "{own} of {expected}, {without} without a stack");
        assert!(refused > 0 || (own, without) == (expected, 0), "{own} of {expected}, {without} without a stack");
        // What the system refused once it gives when it is asked again.
        assert!(refused != 1 || without < expected / 10, "{without} of {expected} without a stack after one refusal");
        let losses = last.losses();
        let told = losses.overflow_stacks + losses.threads_without_state + losses.unstored_stacks + losses.ring_full;
        assert!(without == 0 || told > 0, "{without} blocks without a stack, and {losses}");
        assert!(refused == 0 || losses.to_string().contains("refused by the system"), "{losses}");
    }
}
