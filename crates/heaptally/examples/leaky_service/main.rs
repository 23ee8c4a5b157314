//! A TCP service that leaks, and heaptally naming the function that does it. Run it with
//! `cargo run --release --example leaky_service [SESSIONS]`.
//!
//! A client in the same process opens SESSIONS sessions evenly over five seconds. The service keeps every session for
//! ever (`sessions`, the planted leak); beside it a worker pool (`workers`) and a bounded cache (`pages`) allocate
//! all the time and leak nothing. Every second the program prints a snapshot and what changed since the one before.
//! It ends by naming the function that grew in every second, and fails unless that function holds exactly sessions x
//! bytes per session.
//!
//! With `--features http`, and an address in HEAP_ADDRESS such as 127.0.0.1:6060, the heap can be looked at there meanwhile.

mod client;
mod pages;
mod server;
mod sessions;
mod workers;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, process};

use heaptally::{DiffRow, SiteKind, Tally, TallyAlloc};
use tokio::net::TcpListener;
use tokio::{select, task, time};

use crate::pages::PageCache;
use crate::sessions::{SESSION_BYTES, SessionCache};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// How long the client takes, and how many snapshots are printed.
const SECONDS: u32 = 5;
const DEFAULT_SESSIONS: u32 = 2500;

fn main() {
    let sessions = sessions_argument().unwrap_or_else(|error| fail(error, 2));
    // A service would log the error and go on; this program has nothing to show without heaptally.
    let tally = heaptally::start(heaptally::config!()).unwrap_or_else(|error| fail(error, 1));
    #[cfg(feature = "http")]
    let _server =
        env::var("HEAP_ADDRESS").map(|address| heaptally::http::serve(address).unwrap_or_else(|error| fail(error, 2)));
    run(tally, sessions).unwrap_or_else(|error| fail(error, 1));
}

fn fail(error: impl fmt::Display, status: i32) -> ! {
    eprintln!("leaky_service: {error}");
    process::exit(status)
}

/// How many sessions to open: enough for some in every second.
fn sessions_argument() -> Result<u32, String> {
    let mut arguments = env::args_os().skip(1);
    let Some(argument) = arguments.next() else { return Ok(DEFAULT_SESSIONS) };
    match (argument.to_str().and_then(|text| text.parse().ok()), arguments.next()) {
        (_, Some(_)) => Err("too many arguments; give one number of sessions, or none".into()),
        (Some(sessions @ 100..=1_000_000), None) => Ok(sessions),
        _ => Err(format!("SESSIONS must be a whole number from 100 to 1000000, not {argument:?}")),
    }
}

#[tokio::main]
async fn run(tally: Tally, sessions: u32) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let pages = Arc::new(PageCache::new());
    workers::start(&pages);
    let server = server::listen(listener, Arc::new(SessionCache::default()), pages);
    let suspects = select! {
        suspects = watch(tally, address, sessions) => suspects?,
        error = server => return Err(error.into()),
    };

    let leak = suspects.iter().max_by_key(|row| row.now().live_bytes()).ok_or("no function grew in every second")?;
    let (function, bytes, blocks) = (leak.function(), leak.now().live_bytes(), leak.now().live_blocks());
    let expected = i64::from(sessions) * SESSION_BYTES as i64;
    if (bytes, blocks) != (expected, sessions.into()) {
        return Err(format!("{function} holds {bytes} bytes in {blocks} blocks, not {expected} in {sessions}").into());
    }
    println!("\nleak: {function} holds {bytes} bytes in {blocks} blocks = {sessions} sessions x {SESSION_BYTES} bytes");
    Ok(())
}

/// Starts the client and prints every second what the heap holds and what changed, the last time when the client is
/// done. Returns the functions of the program that grew in every second.
async fn watch(tally: Tally, address: SocketAddr, sessions: u32) -> Result<Vec<DiffRow>, Box<dyn Error>> {
    // Looking up symbols may take a while, so it must not hold up a thread of the runtime.
    let snapshot = || task::spawn_blocking(move || tally.snapshot());
    let mut earlier = snapshot().await?;
    let mut client = task::spawn(client::open_sessions(address, sessions, Duration::from_secs(SECONDS.into())));
    let mut beat = time::interval(Duration::from_secs(1));
    beat.tick().await; // The first tick comes at once.
    let mut suspects: Vec<DiffRow> = Vec::new();
    for second in 1..=SECONDS {
        beat.tick().await;
        if second == SECONDS {
            (&mut client).await??;
        }
        let now = snapshot().await?;
        now.check()?;
        let change = now.since(&earlier);
        println!("\n===== second {second} of {SECONDS} =====\n\n{now}\n\n{change}");

        let mut grew = change.grew(usize::MAX);
        grew.retain(|row| row.kind() == SiteKind::Module);
        grew.retain(|row| second == 1 || suspects.iter().any(|suspect| suspect.function() == row.function()));
        suspects = grew.into_iter().cloned().collect();
        earlier = now;
    }
    Ok(suspects)
}
