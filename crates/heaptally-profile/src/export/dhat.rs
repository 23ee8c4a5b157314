//! Files for DHAT's viewer, which shows stacks as a tree that grows from the allocations towards `main`.
//!
//! A pure function of the snapshot, for any thread; allocates.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};

use crate::counts::Counts;
use crate::frame::{Frame, Line};
use crate::site::Site;
use crate::snapshot::Snapshot;

use super::frame_texts::{FrameTexts, TextId};

/// Which blocks a DHAT file is about. It has room for one pair of numbers of each stack, unless it also has what a
/// snapshot does not know (see [`write`](fn@write)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocks {
    /// All that were allocated since the process began.
    Allocated,
    /// Those in use now.
    Live,
}

impl Blocks {
    fn verb(self) -> &'static str {
        match self {
            Self::Allocated => "Allocated",
            Self::Live => "Live",
        }
    }

    /// The blocks and bytes of these counters. Live ones are below zero only where nothing was allocated.
    fn of(self, counts: Counts) -> (u64, u64) {
        let live = |number: i64| u64::try_from(number).unwrap_or(0);
        match self {
            Self::Allocated => (counts.allocated_blocks, counts.allocated_bytes),
            Self::Live => (live(counts.live_blocks()), live(counts.live_bytes())),
        }
    }
}

/// Writes a JSON file of DHAT's version 2, which valgrind's `dh_view.html` opens.
///
/// Stacks begin at the allocation, inlined functions are frames of their own, and the frames of the allocator itself are
/// left out; stacks that are equal then are one. A row without a stack is a frame of its name. The numbers of all stacks add
/// up to those of all [sites](Snapshot::sites) but that of frees without a known allocation, and so in a quiet moment to the
/// [totals](Snapshot::totals).
///
/// The file says that it has no lifetimes and accesses (`bklt` and `bkacc` are `false`): how long blocks lived in all, and
/// the most that each stack held, are not known exactly. `te` is the time since tracking was started, in microseconds;
/// `pid` is 0, as a snapshot does not know it.
///
/// # Errors
///
/// Those of `out`.
///
/// # Examples
///
/// ```
/// use heaptally_profile::export::dhat::{self, Blocks};
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let counts = Counts { allocated_blocks: 1, allocated_bytes: 64, ..Counts::ZERO };
/// # let sites = vec![Site::pseudo(SiteKind::Paused, counts)];
/// # let snapshot = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
/// let mut file = Vec::new();
/// dhat::write(&snapshot, Blocks::Live, &mut file)?;
/// assert!(String::from_utf8_lossy(&file).contains(r#"{"tb":64,"tbk":1,"fs":[1]}"#));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(snapshot: &Snapshot, blocks: Blocks, mut out: impl Write) -> io::Result<()> {
    let mut texts = FrameTexts::new(frame_texts);
    // The viewer wants this one first.
    texts.id("[root]".to_owned());
    let mut sums: HashMap<Vec<TextId>, (u64, u64)> = HashMap::new();
    for site in snapshot.sites() {
        let (blocks, bytes) = blocks.of(site.counts());
        if (blocks, bytes) == (0, 0) {
            continue;
        }
        let (sum_blocks, sum_bytes) = sums.entry(stack(site, &mut texts)).or_default();
        *sum_blocks += blocks;
        *sum_bytes += bytes;
    }
    let mut points: Vec<(Vec<TextId>, (u64, u64))> = sums.into_iter().collect();
    points.sort_unstable_by(|(a_stack, a), (b_stack, b)| (Reverse(a.1), a_stack).cmp(&(Reverse(b.1), b_stack)));

    write!(out, "{{\"dhatFileVersion\":2,\"mode\":\"rust-heap\",\"verb\":\"{}\",", blocks.verb())?;
    write!(out, "\"bklt\":false,\"bkacc\":false,\"tu\":\"µs\",\"Mtu\":\"s\",")?;
    write!(out, "\"cmd\":\"heaptally snapshot {}\",\"pid\":0,", snapshot.sequence())?;
    write!(out, "\"te\":{},\n\"pps\":[", snapshot.elapsed().as_micros())?;
    for (index, (stack, (blocks, bytes))) in points.iter().enumerate() {
        write!(out, "{}\n{{\"tb\":{bytes},\"tbk\":{blocks},\"fs\":[", separator(index))?;
        for (depth, frame) in stack.iter().enumerate() {
            write!(out, "{}{frame}", separator(depth))?;
        }
        write!(out, "]}}")?;
    }
    write!(out, "],\n\"ftbl\":[")?;
    for (index, text) in texts.texts().iter().enumerate() {
        write!(out, "{}\n{}", separator(index), JsonText(text))?;
    }
    writeln!(out, "]}}")
}

/// What stands before the item at `index` of a list.
fn separator(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

/// The stack of a site from its allocation on, without the frames of the allocator.
fn stack(site: &Site, texts: &mut FrameTexts) -> Vec<TextId> {
    let mut stack = texts.stack(site);
    // One text for each line, and one for each frame without lines.
    let lines =
        site.frames().flat_map(|frame| frame.lines.iter().map(Some).chain(frame.lines.is_empty().then_some(None)));
    let own = lines.take_while(|line| line.is_some_and(is_allocator)).count();
    // A stack that ends in the allocator is all there is of it.
    if own < stack.len() {
        stack.drain(..own);
    }
    if stack.is_empty() {
        stack.push(texts.id(site.function().to_owned()));
    }
    stack
}

/// Whether this is the way from the code that allocates to the allocator: the same on every stack.
fn is_allocator(line: &Line) -> bool {
    let function = line.function.strip_prefix('<').unwrap_or(&line.function);
    ["__rustc::__r", "__rust_", "__rg_", "__rdl_", "alloc::alloc::", "std::alloc::", "heaptally::"]
        .iter()
        .any(|prefix| function.starts_with(prefix))
}

/// The functions of a frame, innermost first, as valgrind writes them.
fn frame_texts(frame: &Frame) -> Vec<String> {
    let text = |function: &str, file: Option<&str>, line: Option<u32>| {
        let place = match (file, line, &frame.mapping) {
            (Some(file), Some(line), _) => format!(" ({file}:{line})"),
            (Some(file), None, _) => format!(" ({file})"),
            (None, _, Some(mapping)) => format!(" (in {})", mapping.path),
            (None, _, None) => String::new(),
        };
        format!("{:#x}: {function}{place}", frame.ip)
    };
    if frame.lines.is_empty() {
        return vec![text("???", None, None)];
    }
    frame.lines.iter().map(|line| text(&line.function, line.file.as_deref(), line.line)).collect()
}

/// A text as a string of JSON.
struct JsonText<'a>(&'a str);

impl fmt::Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\0'..='\x1f' => write!(f, "\\u{:04x}", u32::from(c))?,
                _ => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::export::small_heap::small_heap;
    use crate::fixtures::{counts, snapshot, stack_tables};
    use crate::{Owner, SiteKind};

    use super::*;

    fn file(snapshot: &Snapshot, blocks: Blocks) -> String {
        let mut file = Vec::new();
        write(snapshot, blocks, &mut file).unwrap();
        String::from_utf8(file).unwrap()
    }

    fn of_stack(functions: &[&str]) -> Site {
        let owner = Owner { function: "(other: std)".into(), module: None, location: None };
        Site::new(SiteKind::Other, Arc::new(owner), Some(stack_tables(functions)), counts(1, 8, 0, 0))
    }

    #[test]
    fn stacks_that_differ_in_the_allocator_only_are_one() {
        assert_eq!(
            file(&small_heap(), Blocks::Allocated),
            r##"{"dhatFileVersion":2,"mode":"rust-heap","verb":"Allocated","bklt":false,"bkacc":false,"tu":"µs","Mtu":"s","cmd":"heaptally snapshot 0","pid":0,"te":2500000,
"pps":[
{"tb":500,"tbk":5,"fs":[1]},
{"tb":350,"tbk":4,"fs":[3,4,5]},
{"tb":20,"tbk":2,"fs":[8,9,5]},
{"tb":8,"tbk":1,"fs":[7]}],
"ftbl":[
"[root]",
"(heaptally itself)",
"0x3000: __rustc::__rust_alloc",
"0x2000: app::cache::put::<[u8; 4]> (src/cache.rs:9)",
"0x2000: app::cache::Cache::fill (src/cache.rs:20)",
"0x1000: app::main (src/main.rs:3)",
"0x3100: __rustc::__rust_realloc",
"(paused)",
"0xdead: ???",
"0x7f0000001234: ??? (in /lib/libz.so.1)"]}
"##
        );
    }

    #[test]
    fn live_blocks_are_those_that_were_not_freed() {
        let file = file(&small_heap(), Blocks::Live);
        assert!(file.contains(r#""verb":"Live""#), "{file}");
        let points = "\"pps\":[\n\
            {\"tb\":300,\"tbk\":3,\"fs\":[1]},\n\
            {\"tb\":250,\"tbk\":3,\"fs\":[3,4,5]},\n\
            {\"tb\":8,\"tbk\":1,\"fs\":[7]}],";
        assert!(file.contains(points), "{file}");
    }

    #[test]
    fn the_allocator_is_left_out_at_the_end_of_a_stack_only() {
        let trimmed = |functions: &[&str]| {
            let mut texts = FrameTexts::new(frame_texts);
            let stack = stack(&of_stack(functions), &mut texts);
            stack.iter().map(|&id| texts.texts()[id as usize].to_string()).collect::<Vec<_>>()
        };
        let path = ["alloc::alloc::dealloc", "app::f", "<alloc::alloc::Global as Allocator>::allocate", "__rust_alloc"];
        assert_eq!(trimmed(&path), ["0x1: app::f", "0x0: alloc::alloc::dealloc"]);
        assert_eq!(trimmed(&["app::f", "alloc::raw_vec::finish_grow"]).len(), 2);
        assert_eq!(trimmed(&["__rust_alloc"]), ["0x0: __rust_alloc"]);
    }

    #[test]
    fn names_cannot_end_a_string() {
        let file = file(&snapshot(vec![of_stack(&["a \"b\" \\ \n é"])]), Blocks::Live);
        assert!(file.contains(r#""0x0: a \"b\" \\ \u000a é""#), "{file}");
    }

    #[test]
    fn a_snapshot_of_nothing_is_a_file_without_points() {
        let file = file(&snapshot(Vec::new()), Blocks::Allocated);
        assert!(file.ends_with("\"pps\":[],\n\"ftbl\":[\n\"[root]\"]}\n"), "{file}");
    }
}
