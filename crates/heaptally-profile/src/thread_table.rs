//! The threads of a snapshot as text.
//!
//! A pure function of the rows, for any thread; allocates.

use crate::counts::Counts;
use crate::table::{Table, more_cell};
use crate::thread_row::ThreadRow;
use crate::units::{Bytes, Grouped};

/// Threads shown.
const THREADS: usize = 10;

/// The first threads, a line that adds up those that are not shown, and the row of the others. They add up to the total
/// of the snapshot.
pub(crate) fn table(rows: &[ThreadRow]) -> Table<4> {
    let mut table = Table::new(["allocated bytes", "allocated blocks", "freed bytes", "freed blocks"], "thread");
    let (threads, others): (Vec<&ThreadRow>, Vec<&ThreadRow>) = rows.iter().partition(|row| row.os_id().is_some());
    let (first, hidden) = threads.split_at(threads.len().min(THREADS));
    for row in first {
        let id = row.os_id().unwrap_or_default();
        let name = if row.name().is_empty() { "(no name yet)" } else { row.name() };
        table.push(cells(row.counts()), format!("{name} ({id})"));
    }
    if !hidden.is_empty() {
        let sum = hidden.iter().fold(Counts::ZERO, |sum, row| sum + row.counts());
        table.push(cells(sum), more_cell(hidden.len(), "thread"));
    }
    for row in others {
        table.push(cells(row.counts()), row.name());
    }
    table
}

fn cells(counts: Counts) -> [String; 4] {
    [
        Bytes(counts.allocated_bytes).to_string(),
        Grouped(counts.allocated_blocks).to_string(),
        Bytes(counts.freed_bytes).to_string(),
        Grouped(counts.freed_blocks).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixtures::counts;

    use super::*;

    #[test]
    fn ten_threads_are_shown_and_the_others_added_up() {
        let mut rows: Vec<ThreadRow> = (0..12)
            .map(|n| ThreadRow::of_thread(100 + n, "worker".into(), counts(20 - u64::from(n), 2_048, 1, 1_024)))
            .collect();
        rows[1] = ThreadRow::of_thread(7, "".into(), counts(19, 2_048, 1_000, 1_024));
        rows.push(ThreadRow::of_others(counts(3, 30, 3, 30)));
        let text = table(&rows).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 13);
        assert_eq!(
            lines[..3],
            [
                "allocated bytes  allocated blocks  freed bytes  freed blocks  thread",
                "        2.0 KiB                20      1.0 KiB             1  worker (100)",
                "        2.0 KiB                19      1.0 KiB         1,000  (no name yet) (7)",
            ]
        );
        // 20 - 10 and 20 - 11 blocks.
        assert_eq!(
            lines[11..],
            [
                "        4.0 KiB                19      2.0 KiB             2  … and 2 more threads",
                "           30 B                 3         30 B             3  (ended, or without counters)",
            ]
        );
    }
}
