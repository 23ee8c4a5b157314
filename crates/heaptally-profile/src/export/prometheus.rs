//! Metrics in the text format 0.0.4 of Prometheus.
//!
//! A pure function of the snapshot, for any thread; allocates. It knows of no server: whoever has one answers with the text.

use std::io::{self, Write};

use crate::losses::Losses;
use crate::row::{self, Rank, Row};
use crate::snapshot::Snapshot;

/// The `Content-Type` of an answer to Prometheus.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes totals, live numbers, peak, losses, what heaptally itself costs, and the `functions` functions with most live
/// bytes. docs/exports.md names each metric.
///
/// There are two series for each function, so Prometheus keeps few however many functions allocate: those that come and go
/// count too, so keep `functions` small. 20 is what the table shows. Functions are the rows of the program, those in
/// parentheses too; heaptally itself is a metric of its own.
///
/// # Errors
///
/// Those of `out`.
///
/// # Examples
///
/// ```
/// use heaptally_profile::export::prometheus;
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let counts = Counts { allocated_blocks: 1, allocated_bytes: 64, ..Counts::ZERO };
/// # let sites = vec![Site::pseudo(SiteKind::Paused, counts)];
/// # let snapshot = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
/// let mut metrics = Vec::new();
/// prometheus::write(&snapshot, 20, &mut metrics)?;
/// let metrics = String::from_utf8_lossy(&metrics);
/// let line = r#"heaptally_function_live_bytes{code_function_name="(paused)",module=""} 64"#;
/// assert!(metrics.lines().any(|found| found == line), "{metrics}");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(snapshot: &Snapshot, functions: usize, out: impl Write) -> io::Result<()> {
    let mut metrics = Metrics { out };
    totals(snapshot, &mut metrics)?;
    losses(snapshot.losses(), &mut metrics)?;
    overhead(snapshot, &mut metrics)?;
    let program = snapshot.by_function().into_iter().filter(|row| row.kind().is_program()).collect();
    top(&row::top(program, functions, Rank::LiveBytes), &mut metrics)
}

fn totals<W: Write>(snapshot: &Snapshot, metrics: &mut Metrics<W>) -> io::Result<()> {
    let totals = snapshot.totals();
    let counters = [
        ("heaptally_allocated_bytes_total", "Bytes requested since the process began.", totals.allocated_bytes),
        ("heaptally_allocated_blocks_total", "Blocks handed out since the process began.", totals.allocated_blocks),
        ("heaptally_freed_bytes_total", "Requested bytes of the blocks given back.", totals.freed_bytes),
        ("heaptally_freed_blocks_total", "Blocks given back.", totals.freed_blocks),
    ];
    for (name, help, number) in counters {
        metrics.single(name, Kind::Counter, help, number)?;
    }
    metrics.single("heaptally_live_bytes", Kind::Gauge, "Requested bytes in use.", totals.live_bytes())?;
    metrics.single("heaptally_live_blocks", Kind::Gauge, "Blocks in use.", totals.live_blocks())?;
    if let Some(peak) = snapshot.peak() {
        let help = "The most bytes of the program that were live at once since tracking was started.";
        metrics.single("heaptally_peak_live_bytes", Kind::Gauge, help, peak.live_bytes)?;
        let help = "What heaptally_peak_live_bytes may be off, up or down.";
        metrics.single("heaptally_peak_error_bytes", Kind::Gauge, help, peak.error_bytes)?;
    }
    if let Some(resident_bytes) = snapshot.resident_bytes() {
        let help = "Physical memory in use by the process.";
        metrics.single("process_memory_usage_bytes", Kind::Gauge, help, resident_bytes)?;
    }
    Ok(())
}

fn losses<W: Write>(losses: &Losses, metrics: &mut Metrics<W>) -> io::Result<()> {
    // All of them by name, so that a new one cannot be forgotten.
    let &Losses {
        unknown_frees,
        no_stack_nested,
        abandoned,
        no_stack_failed,
        truncated_stacks,
        shortened_stacks,
        overflow_stacks,
        ring_full,
        unstored_stacks,
        unknown_ages,
        refused_by_arena_limit,
        failed_mappings,
        threads_without_state,
    } = losses;
    let name = "heaptally_losses_total";
    metrics.family(name, Kind::Counter, "Events at which something could not be attributed, by cause.")?;
    for (cause, events) in [
        ("unknown_frees", unknown_frees.blocks),
        ("no_stack_nested", no_stack_nested),
        ("abandoned", abandoned),
        ("no_stack_failed", no_stack_failed),
        ("truncated_stacks", truncated_stacks),
        ("shortened_stacks", shortened_stacks),
        ("overflow_stacks", overflow_stacks),
        ("ring_full", ring_full),
        ("unstored_stacks", unstored_stacks),
        ("unknown_ages", unknown_ages),
        ("refused_by_arena_limit", refused_by_arena_limit),
        ("failed_mappings", failed_mappings),
        ("threads_without_state", threads_without_state),
    ] {
        metrics.sample(name, &[("cause", cause)], events)?;
    }
    Ok(())
}

fn overhead<W: Write>(snapshot: &Snapshot, metrics: &mut Metrics<W>) -> io::Result<()> {
    let overhead = snapshot.overhead();
    let name = "heaptally_own_bytes";
    metrics.family(name, Kind::Gauge, "Memory that would not be there without heaptally, by part: an upper bound.")?;
    for (part, bytes) in [
        ("arena", overhead.arena_bytes),
        ("heap", overhead.internal_live_bytes),
        ("tags", overhead.tag_bytes),
        ("page_map", overhead.page_map_bytes),
    ] {
        metrics.sample(name, &[("part", part)], bytes)?;
    }
    for (name, help, number) in [
        ("heaptally_arena_mapped_bytes", "Address space of heaptally's own tables.", overhead.arena_mapped_bytes),
        ("heaptally_arena_limit_bytes", "The most such address space.", overhead.arena_limit_bytes),
        ("heaptally_stacks", "Distinct stacks recorded, whole or short.", overhead.stacks),
        ("heaptally_stacks_limit", "The most stacks that are recorded whole.", overhead.stacks_limit),
        ("heaptally_stack_nodes", "Frames of all stacks.", overhead.stack_nodes),
        ("heaptally_stack_nodes_limit", "The most such frames.", overhead.stack_nodes_limit),
        ("heaptally_thread_states", "Thread states in existence.", overhead.threads),
        ("heaptally_thread_states_limit", "The most thread states.", overhead.threads_limit),
    ] {
        metrics.single(name, Kind::Gauge, help, number)?;
    }
    for (name, kind, help, ns) in [
        (
            "heaptally_aggregator_cpu_seconds_total",
            Kind::Counter,
            "Processor time of heaptally's own thread.",
            overhead.aggregator_cpu_ns,
        ),
        (
            "heaptally_symbolize_seconds_total",
            Kind::Counter,
            "Time spent looking up symbols, for all snapshots.",
            overhead.symbolize_ns,
        ),
        ("heaptally_snapshot_seconds", Kind::Gauge, "How long this snapshot took.", overhead.snapshot_ns),
    ] {
        metrics.single(name, kind, help, Seconds { ns })?;
    }
    Ok(())
}

fn top<W: Write>(rows: &[Row], metrics: &mut Metrics<W>) -> io::Result<()> {
    let name = "heaptally_function_live_bytes";
    metrics.family(name, Kind::Gauge, "Requested bytes in use of the functions with most of them.")?;
    for row in rows {
        metrics.sample(name, &function_labels(row), row.counts().live_bytes())?;
    }
    let name = "heaptally_function_live_blocks";
    metrics.family(name, Kind::Gauge, "Blocks in use of the functions with most bytes in use.")?;
    for row in rows {
        metrics.sample(name, &function_labels(row), row.counts().live_blocks())?;
    }
    Ok(())
}

fn function_labels(row: &Row) -> [(&'static str, &str); 2] {
    [("code_function_name", row.function()), ("module", row.module().unwrap_or_default())]
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// Time as seconds, to the nanosecond.
struct Seconds {
    ns: u64,
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.ns / 1_000_000_000, self.ns % 1_000_000_000)
    }
}

/// Writes lines of the format.
struct Metrics<W> {
    out: W,
}

impl<W: Write> Metrics<W> {
    /// What stands before the samples of a metric. `help` has neither a backslash nor a newline.
    fn family(&mut self, name: &str, kind: Kind, help: &str) -> io::Result<()> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}")
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) -> io::Result<()> {
        write!(self.out, "{name}")?;
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.out, "{open}{label}=\"{text}\"")?;
        }
        writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" })
    }

    /// A metric of one sample without labels.
    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl std::fmt::Display) -> io::Result<()> {
        self.family(name, kind, help)?;
        self.sample(name, &[], value)
    }
}

#[cfg(test)]
mod tests {
    use crate::export::small_heap::small_heap;
    use crate::fixtures::{counts, site, snapshot};
    use crate::{Overhead, PeakBytes, SnapshotParts, UnknownFrees};

    use super::*;

    fn text(snapshot: &Snapshot, functions: usize) -> String {
        let mut text = Vec::new();
        write(snapshot, functions, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn all_metrics_have_help_type_and_unit() {
        let everything = small_heap();
        let snapshot = Snapshot::from_parts(SnapshotParts {
            totals: everything.totals(),
            sites: everything.sites().to_vec(),
            losses: Losses {
                unknown_frees: UnknownFrees { blocks: 1, bytes: 7, last_address: 0x7f00, last_size: 7 },
                ring_full: 4,
                ..Losses::default()
            },
            overhead: Overhead {
                arena_bytes: 1000,
                arena_mapped_bytes: 4096,
                arena_limit_bytes: 8192,
                internal_live_bytes: 300,
                tag_bytes: 80,
                page_map_bytes: 4096,
                stacks: 3,
                stacks_limit: 100,
                stack_nodes: 9,
                stack_nodes_limit: 1000,
                threads: 2,
                threads_limit: 64,
                aggregator_cpu_ns: 1_500_000_000,
                symbolize_ns: 7,
                snapshot_ns: 250_000,
                ..Overhead::default()
            },
            peak: Some(PeakBytes { live_bytes: 600, error_bytes: 65_536 }),
            resident_bytes: Some(12_288),
            ..SnapshotParts::default()
        });
        assert_eq!(text(&snapshot, 2), include_str!("golden/metrics.prom"));
    }

    #[test]
    fn there_are_no_more_functions_than_asked_for() {
        let sites = (1..=9).map(|n| site(&format!("app::f{n}"), counts(1, n, 0, 0))).collect();
        let text = text(&snapshot(sites), 3);
        let largest = "heaptally_function_live_bytes{code_function_name=\"app::f9\",module=\"app\"} 9\n\
             heaptally_function_live_bytes{code_function_name=\"app::f8\",module=\"app\"} 8\n\
             heaptally_function_live_bytes{code_function_name=\"app::f7\",module=\"app\"} 7\n";
        assert!(text.contains(largest), "{text}");
        assert_eq!(text.matches("heaptally_function_live_bytes{").count(), 3);
        assert_eq!(text.matches("heaptally_function_live_blocks{").count(), 3);
    }

    #[test]
    fn labels_cannot_end_early() {
        let text = text(&snapshot(vec![site("a \"b\" \\ \n c", counts(1, 8, 0, 0))]), 1);
        let line = r#"heaptally_function_live_bytes{code_function_name="a \"b\" \\ \n c",module="app"} 8"#;
        assert!(text.lines().any(|found| found == line), "{text}");
    }

    #[test]
    fn what_is_not_known_has_no_metric() {
        let text = text(&snapshot(Vec::new()), 20);
        assert!(!text.contains("peak") && !text.contains("process_"), "{text}");
    }
}
