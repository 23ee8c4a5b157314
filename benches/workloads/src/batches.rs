//! `batches`: blocks allocated by one thread and freed by another, handed over 64 at a time.
//!
//! Stands for pipelines. The queue is allocated beforehand, so the only blocks are those handed over; memory moves
//! between the threads' caches with every block, whatever the allocator does.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::work::Work;

type Block = Vec<u8>;

const BLOCKS_A_BATCH: usize = 64;
const BATCHES_A_LAP: usize = 2000;
const QUEUE_BLOCKS: usize = 16 * BLOCKS_A_BATCH;

pub(crate) struct Batches {
    producer: Producer<Block>,
    /// Until the freeing thread is spawned, when tracking has started.
    consumer: Option<Consumer<Block>>,
    freed: Arc<Freed>,
    allocated_blocks: u64,
}

/// What the freeing thread has done.
#[derive(Default)]
struct Freed {
    /// Stored last, with Release: whoever loads it with Acquire sees the bytes of these blocks.
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl Batches {
    pub(crate) fn new() -> Self {
        let (producer, consumer) = RingBuffer::new(QUEUE_BLOCKS);
        Self { producer, consumer: Some(consumer), freed: Arc::default(), allocated_blocks: 0 }
    }
}

impl Work for Batches {
    fn operation(&self) -> &'static str {
        "block"
    }

    fn operations_a_lap(&self) -> u64 {
        (BATCHES_A_LAP * BLOCKS_A_BATCH) as u64
    }

    fn lap(&mut self) -> u64 {
        let freed_bytes = self.freed.bytes.load(Ordering::Relaxed);
        for _ in 0..BATCHES_A_LAP {
            wait_until(|| self.producer.slots() >= BLOCKS_A_BATCH);
            let chunk = self.producer.write_chunk_uninit(BLOCKS_A_BATCH).expect("there are slots for a batch");
            chunk.fill_from_iter((0..BLOCKS_A_BATCH).map(|block| Vec::with_capacity(32 + block)));
        }
        self.allocated_blocks += self.operations_a_lap();
        // A lap ends when its last block is freed, so laps are equal and the free is in the time.
        wait_until(|| self.freed.blocks.load(Ordering::Acquire) == self.allocated_blocks);
        self.freed.bytes.load(Ordering::Relaxed) - freed_bytes
    }

    fn begin(&mut self) {
        let consumer = self.consumer.take().expect("begun once");
        let freed = Arc::clone(&self.freed);
        thread::spawn(move || free(consumer, &freed));
    }
}

fn free(mut consumer: Consumer<Block>, freed: &Freed) {
    loop {
        wait_until(|| consumer.slots() >= BLOCKS_A_BATCH || consumer.is_abandoned());
        let Ok(batch) = consumer.read_chunk(BLOCKS_A_BATCH) else { return };
        let bytes: usize = batch.into_iter().map(|block| block.capacity()).sum();
        freed.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        freed.blocks.fetch_add(BLOCKS_A_BATCH as u64, Ordering::Release);
    }
}

/// Spins, for the other thread is at work on its own core; yields where it has none.
fn wait_until(done: impl Fn() -> bool) {
    loop {
        for _ in 0..64 {
            if done() {
                return;
            }
            hint::spin_loop();
        }
        thread::yield_now();
    }
}
