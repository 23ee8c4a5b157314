//! A service with a slow leak among a thousand times as much honest churn, a cache far larger than the leak, and a
//! buffer that fills and empties: the leak is named first, with exact numbers.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use heaptally::{Config, Counts, Suspects, Tally, TallyAlloc, TickNumber};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const LEAKED_BYTES: u64 = 10;
const CHURN_BYTES: usize = 10 << 10;
const CACHE_BLOCKS: u64 = 2000;
const CACHE_BLOCK_BYTES: u64 = 4096;
/// Requests until the buffer is full.
const TOOTH: usize = 100;
const TOOTH_BLOCK_BYTES: usize = 2048;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);
/// The shortest window is 8 s long.
const FIRST_LOOK: Duration = Duration::from_secs(10);
const NEXT_LOOK: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);

#[inline(never)]
fn leaks() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(LEAKED_BYTES as usize)))
}

#[inline(never)]
fn churns() {
    for _ in 0..10 {
        drop(black_box(Vec::<u8>::with_capacity(black_box(CHURN_BYTES / 10))));
    }
}

#[inline(never)]
fn caches() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(CACHE_BLOCK_BYTES as usize)))
}

#[inline(never)]
fn buffers() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(TOOTH_BLOCK_BYTES)))
}

/// The service under load.
struct Service {
    tally: Tally,
    begun: Instant,
    /// The list that nothing is ever removed from, and when each of its blocks was asked for. Their own memory is there
    /// before the first.
    leaked: Vec<Vec<u8>>,
    asked: Vec<Duration>,
    buffer: Vec<Vec<u8>>,
    /// Points of the history when the buffer was emptied, as long as there is no further one.
    emptied_at: Option<usize>,
}

impl Service {
    fn new(tally: Tally) -> Self {
        let requests = (PATIENCE * 2).div_duration_f64(PAUSE) as usize;
        Self {
            tally,
            begun: Instant::now(),
            leaked: Vec::with_capacity(requests),
            asked: Vec::with_capacity(requests),
            buffer: Vec::with_capacity(TOOTH),
            emptied_at: None,
        }
    }

    fn request(&mut self) {
        self.asked.push(self.begun.elapsed());
        self.leaked.push(leaks());
        churns();
        // A point finds the buffer empty each time it is: else what it held at the least might grow by chance.
        match self.emptied_at {
            Some(points) if self.tally.history().len() > points => self.emptied_at = None,
            Some(_) => {}
            None if self.buffer.len() < TOOTH => self.buffer.push(buffers()),
            None => {
                self.buffer.clear();
                // The next point may have been begun before.
                self.emptied_at = Some(self.tally.history().len() + 1);
            }
        }
        thread::sleep(PAUSE);
    }

    fn serve_until(&mut self, end: Duration) {
        while self.begun.elapsed() < end {
            self.request();
        }
    }
}

fn names(suspects: &Suspects) -> Vec<&str> {
    suspects.iter().map(|suspect| suspect.function()).collect()
}

#[test]
fn a_slow_leak_is_named_before_everything_else() {
    let config = Config::new().modules(["suspects"]).history_period(TickNumber::LENGTH);
    let tally = heaptally::start(config).unwrap();
    assert!(tally.suspects().is_too_short());
    let cache: Vec<Vec<u8>> = (0..CACHE_BLOCKS).map(|_| caches()).collect();
    let mut service = Service::new(tally);
    let mut look = FIRST_LOOK;
    let (suspects, after) = loop {
        service.serve_until(look);
        let suspects = tally.suspects();
        let after = service.begun.elapsed();
        // On a machine that stood still for a second there may be an eighth without a point or without a request.
        if names(&suspects).contains(&"suspects::leaks") || look > PATIENCE {
            break (suspects, after);
        }
        look += NEXT_LOOK;
    };
    println!("{} requests in {after:?}\n{suspects}", service.asked.len());
    assert_eq!(names(&suspects).first(), Some(&"suspects::leaks"), "{suspects:#}");
    for steady in ["suspects::caches", "suspects::buffers"] {
        assert!(!names(&suspects).contains(&steady), "{suspects:#}");
    }

    let leak = &suspects.rows()[0];
    let requests = service.asked.len() as u64;
    let (allocated_blocks, allocated_bytes) = (requests, requests * LEAKED_BYTES);
    assert_eq!(leak.row().counts(), Counts { allocated_blocks, allocated_bytes, ..Counts::ZERO });
    assert_eq!(leak.survival(), 1.0);
    assert!(!leak.may_regain());
    assert!(leak.window() >= Duration::from_secs(8) && leak.window() <= suspects.history(), "{leak:?}");
    let leaked_bytes = requests * LEAKED_BYTES;
    assert!((1..=leaked_bytes / 7).contains(&leak.steady_bytes()), "{} of {leaked_bytes}", leak.steady_bytes());
    assert!(leak.mean_age().is_some_and(|age| age >= TickNumber::LENGTH), "{:?}", leak.mean_age());

    // No block is called old that is not: none that was asked for when the suspects were, less the age, or later.
    let elders = leak.surely_older_than(leak.window() / 2).expect("the history goes back to the begin of the window");
    let old = service.asked.iter().filter(|&&asked| asked + elders.age <= after).count() as u64;
    assert!((1..=old).contains(&elders.blocks), "{elders:?}, {old} were asked for until then");
    assert_eq!(elders.bytes, elders.blocks * LEAKED_BYTES);

    let snapshot = tally.snapshot();
    assert_eq!(snapshot.check(), Ok(()));
    let cached = snapshot.function("suspects::caches").expect("a row").counts();
    assert_eq!(cached.live_bytes() as u64, CACHE_BLOCKS * CACHE_BLOCK_BYTES);
    assert!(cached.live_bytes() as u64 > 50 * leaked_bytes);
    drop(cache);
}
