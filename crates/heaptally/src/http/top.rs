//! What the page shows, as JSON: the program in a few numbers, and its functions with most live bytes.

use serde_json::{Value, json};

use crate::{Location, Rank, Row, Snapshot};

/// Of `rows` functions at most.
pub(super) fn top(snapshot: &Snapshot, rows: usize) -> Value {
    let overhead = snapshot.overhead();
    let functions = snapshot.top(usize::MAX, Rank::LiveBytes);
    let functions: Vec<&Row> = functions.iter().filter(|row| row.kind().is_program()).collect();
    let live_bytes: i64 = functions.iter().map(|row| row.counts().live_bytes()).sum();
    let live_blocks: i64 = functions.iter().map(|row| row.counts().live_blocks()).sum();
    json!({
        "elapsed_ms": snapshot.elapsed().as_millis() as u64,
        "live_bytes": live_bytes,
        "live_blocks": live_blocks,
        "peak_bytes": snapshot.peak().map(|peak| peak.live_bytes),
        "own_bytes": overhead.own_bytes(),
        "resident_bytes": snapshot.resident_bytes(),
        "functions": functions.len(),
        "rows": functions.iter().take(rows).map(|row| function(row)).collect::<Vec<_>>(),
    })
}

/// The file's name and the line; the path is in the snapshot.
fn place(location: &Location) -> String {
    let file = location.file.rsplit(['/', '\\']).next().unwrap_or(&location.file);
    match location.line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

fn function(row: &Row) -> Value {
    let counts = row.counts();
    json!({
        "function": row.function(),
        "place": row.location().map(place),
        "live_bytes": counts.live_bytes(),
        "live_blocks": counts.live_blocks(),
        "allocated_bytes": counts.allocated_bytes,
        "allocated_blocks": counts.allocated_blocks,
    })
}
