//! What the service's workers do: one job at each step, drawn by chance.
//!
//! On the threads of workers, and on those that they start and join within a step.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;

use heaptally_tests::{Random, stacks};

use crate::account::Kept;
use crate::leaves;
use crate::plugin::Plugin;

/// Blocks that a worker keeps of each sort.
const KEPT_SMALL: usize = 64;
const KEPT_LARGE: usize = 3;
/// Each has frames of other sizes; half of them have no build id, and are new to heaptally at each load.
const PLUGINS: [&str; 4] = ["small", "large", "small_nameless", "large_nameless"];
/// More than the configuration keeps of a stack.
const DEEPEST_FRAMES: usize = 2_000;

/// One worker's blocks, and its neighbours.
pub(crate) struct Worker {
    random: Random,
    small: VecDeque<Kept>,
    large: VecDeque<Kept>,
    plugin: Option<Plugin>,
    /// Blocks for the next worker.
    next: SyncSender<Kept>,
    /// Blocks of the one before, which are freed here.
    previous: Receiver<Kept>,
}

impl Worker {
    pub(crate) fn new(seed: u64, next: SyncSender<Kept>, previous: Receiver<Kept>) -> Self {
        let (small, large) = (VecDeque::with_capacity(KEPT_SMALL), VecDeque::with_capacity(KEPT_LARGE));
        Self { random: Random::new(seed), small, large, plugin: None, next, previous }
    }

    pub(crate) fn step(&mut self) {
        match self.random.below(1000) {
            0..400 => self.new_stacks(),
            400..410 => self.deep(),
            410..412 => self.plugin(),
            412..430 => self.threads(),
            430..460 => self.large(),
            460..700 => self.resize(),
            _ => self.hand_over(),
        }
    }

    fn keep(&mut self, kept: Kept) {
        if self.small.len() == KEPT_SMALL {
            self.small.pop_front();
        }
        self.small.push_back(kept);
    }

    fn bytes(&mut self, most: usize) -> usize {
        1 + self.random.below(most)
    }

    /// A billion different stacks with a few innermost 16 frames: those that find no more room whole are kept by these.
    fn new_stacks(&mut self) {
        let (outer, inner, bytes) = (self.random.below(1_000_000), self.random.below(1_000), self.bytes(2_000));
        let mut made = None;
        stacks::at(outer, 6, &mut || stacks::at(inner, 10, &mut || made = Some(leaves::new_stack(bytes))));
        self.small_or_freed(made);
    }

    fn deep(&mut self) {
        let (frames, bytes) = (self.random.below(DEEPEST_FRAMES), self.bytes(500));
        let made = descend(frames, bytes);
        self.small_or_freed(Some(made));
    }

    /// A library is loaded and called through; at times it stays for a while, and another one is loaded beside it.
    fn plugin(&mut self) {
        let name = PLUGINS[self.random.below(PLUGINS.len())];
        let plugin = Plugin::load(name);
        let bytes = self.bytes(300);
        let mut made = None;
        plugin.through(&mut || made = Some(leaves::through_plugin(bytes)));
        self.small_or_freed(made);
        self.plugin = (self.random.below(4) == 0).then_some(plugin);
    }

    /// Threads that end within the step. Some of their blocks stay, others are freed by their destructors.
    fn threads(&mut self) {
        let threads: Vec<_> = (0..1 + self.random.below(3))
            .map(|number| {
                let bytes = self.bytes(5_000);
                let named = thread::Builder::new().name(format!("short-{number}"));
                named.spawn(move || {
                    AT_END.with_borrow_mut(|blocks| blocks.push(leaves::for_thread_end(bytes)));
                    drop(leaves::on_short_thread(2 * bytes));
                    leaves::on_short_thread(bytes)
                })
            })
            .collect();
        for thread in threads {
            let kept = thread.expect("the system has a thread").join().expect("no panic");
            self.keep(kept);
        }
    }

    fn large(&mut self) {
        let bytes = (256 << 10) + self.bytes(4 << 20);
        if self.large.len() == KEPT_LARGE {
            self.large.pop_front();
        }
        self.large.push_back(leaves::large(bytes));
        if let Some(first) = self.large.front_mut() {
            let bytes = first.bytes();
            leaves::grow(first, if bytes > 3 << 20 { bytes / 2 } else { bytes + bytes / 3 });
        }
    }

    fn resize(&mut self) {
        let mut kept = leaves::resized(self.bytes(40));
        for _ in 0..self.random.below(8) {
            let bytes = kept.bytes();
            leaves::grow(&mut kept, if self.random.below(5) == 0 { bytes.div_ceil(3) } else { 2 * bytes });
        }
        self.small_or_freed(Some(kept));
    }

    /// What the next worker has no room for is freed here.
    fn hand_over(&mut self) {
        while let Ok(kept) = self.previous.try_recv() {
            drop(kept);
        }
        for _ in 0..self.random.below(6) {
            let bytes = self.bytes(600);
            drop(self.next.try_send(leaves::handed_over(bytes)));
        }
    }

    fn small_or_freed(&mut self, made: Option<Kept>) {
        let kept = made.expect("the leaf was called");
        if self.random.below(2) == 0 {
            self.keep(kept);
        }
    }
}

thread_local! {
    static AT_END: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

#[inline(never)]
fn descend(frames: usize, bytes: usize) -> Kept {
    let kept = if frames == 0 { leaves::deep(bytes) } else { descend(frames - 1, bytes) };
    black_box(&kept);
    kept
}
