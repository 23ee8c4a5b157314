//! Folded stacks: one line for each stack, which flame graphs are drawn from.
//!
//! A pure function of the snapshot, for any thread; allocates.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use crate::frame::Frame;
use crate::row::Rank;
use crate::site::Site;
use crate::snapshot::Snapshot;

use super::frame_texts::{FrameTexts, TextId};

/// Writes one line for each stack: its functions, outermost first, with `;` between them, a space, and the number.
///
/// Inlined functions are frames of their own. A frame without a name is its file and the offset in it, such as
/// `libc.so.6+0x2724a`. A row without a stack is its name, such as `(paused)`. In names `;` becomes `:`, and a control
/// character, such as a newline, a space. Stacks of equal names are one line, those whose number is not above zero none,
/// and lines are sorted by their stacks, byte by byte.
///
/// The numbers of all lines add up to those of all [sites](Snapshot::sites) but that of frees without a known allocation,
/// and so in a quiet moment to the [totals](Snapshot::totals).
///
/// # Errors
///
/// Those of `out`.
///
/// # Examples
///
/// ```
/// use heaptally_profile::Rank;
/// use heaptally_profile::export::folded;
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let counts = Counts { allocated_blocks: 1, allocated_bytes: 64, ..Counts::ZERO };
/// # let sites = vec![Site::pseudo(SiteKind::Paused, counts)];
/// # let snapshot = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
/// let mut lines = Vec::new();
/// folded::write(&snapshot, Rank::LiveBytes, &mut lines)?;
/// assert_eq!(lines, b"(paused) 64\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(snapshot: &Snapshot, number: Rank, out: impl Write) -> io::Result<()> {
    write_sites(snapshot.sites().iter(), number, out)
}

/// Writes the lines of some sites of one snapshot.
pub(super) fn write_sites<'a>(
    sites: impl Iterator<Item = &'a Site>,
    number: Rank,
    mut out: impl Write,
) -> io::Result<()> {
    let mut names = FrameTexts::new(function_names);
    let mut sums: HashMap<Vec<TextId>, u64> = HashMap::new();
    for site in sites {
        let Some(number) = u64::try_from(number.value(site.counts())).ok().filter(|&number| number > 0) else {
            continue;
        };
        let mut stack = names.stack(site);
        if stack.is_empty() {
            stack.push(names.id(escaped(site.function())));
        }
        stack.reverse();
        *sums.entry(stack).or_default() += number;
    }
    let mut lines: Vec<(Vec<TextId>, u64)> = sums.into_iter().collect();
    lines.sort_unstable_by(|(a, _), (b, _)| compare(a, b, names.texts()));
    for (stack, number) in lines {
        for (depth, &name) in stack.iter().enumerate() {
            let separator = if depth == 0 { "" } else { ";" };
            write!(out, "{separator}{}", names.texts()[name as usize])?;
        }
        writeln!(out, " {number}")?;
    }
    Ok(())
}

/// The functions of a frame, innermost first.
fn function_names(frame: &Frame) -> Vec<String> {
    if frame.lines.is_empty() {
        return vec![escaped(&place(frame))];
    }
    frame.lines.iter().map(|line| escaped(&line.function)).collect()
}

/// A frame without a name.
fn place(frame: &Frame) -> String {
    match &frame.mapping {
        Some(mapping) => {
            let file = mapping.path.rsplit('/').next().unwrap_or_default();
            format!("{file}+{:#x}", frame.ip.wrapping_sub(mapping.start))
        }
        None => format!("{:#x}", frame.ip),
    }
}

fn escaped(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c == ';' {
                ':'
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}

/// Orders two stacks as their lines are ordered.
fn compare(a: &[TextId], b: &[TextId], texts: &[Arc<str>]) -> Ordering {
    let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    // The first name that differs, and whether another one follows. No name has a `;`, so nothing behind that decides.
    let rest = |stack: &[TextId]| {
        let name = stack.get(shared).map_or("", |&id| &*texts[id as usize]);
        name.bytes().chain((stack.len() > shared + 1).then_some(b';'))
    };
    rest(a).cmp(rest(b))
}

#[cfg(test)]
mod tests {
    use crate::export::small_heap::small_heap;
    use crate::fixtures::{counts, site, snapshot, stack_tables};
    use crate::{Owner, SiteKind};

    use super::*;

    fn lines(snapshot: &Snapshot, number: Rank) -> String {
        let mut lines = Vec::new();
        write(snapshot, number, &mut lines).unwrap();
        String::from_utf8(lines).unwrap()
    }

    fn of_stack(functions: &[&str], bytes: u64) -> Site {
        let owner = Owner { function: "app::f".into(), module: None, location: None };
        Site::new(SiteKind::Module, Arc::new(owner), Some(stack_tables(functions)), counts(1, bytes, 0, 0))
    }

    #[test]
    fn stacks_go_from_the_outermost_to_the_innermost_inlined_function() {
        let snapshot = small_heap();
        assert_eq!(
            lines(&snapshot, Rank::LiveBytes),
            "(heaptally itself) 300\n\
             (paused) 8\n\
             app::main;app::cache::Cache::fill;app::cache::put::<[u8: 4]>;__rustc::__rust_alloc 200\n\
             app::main;app::cache::Cache::fill;app::cache::put::<[u8: 4]>;__rustc::__rust_realloc 50\n"
        );
        assert_eq!(
            lines(&snapshot, Rank::AllocatedBlocks),
            "(heaptally itself) 5\n\
             (paused) 1\n\
             app::main;app::cache::Cache::fill;app::cache::put::<[u8: 4]>;__rustc::__rust_alloc 3\n\
             app::main;app::cache::Cache::fill;app::cache::put::<[u8: 4]>;__rustc::__rust_realloc 1\n\
             app::main;libz.so.1+0x1234;0xdead 2\n"
        );
    }

    #[test]
    fn stacks_of_equal_names_are_one_line() {
        let snapshot = snapshot(vec![of_stack(&["main", "f"], 5), of_stack(&["main", "f"], 7)]);
        assert_eq!(lines(&snapshot, Rank::AllocatedBytes), "main;f 12\n");
        assert_eq!(lines(&snapshot, Rank::LiveBlocks), "main;f 2\n");
    }

    #[test]
    fn no_name_can_end_a_frame_or_a_line() {
        let snapshot = snapshot(vec![of_stack(&["a;b", "c\r\nd"], 5), site("e;f\n", counts(1, 4, 0, 0))]);
        assert_eq!(lines(&snapshot, Rank::LiveBytes), "a:b;c  d 5\ne:f  4\n");
    }

    #[test]
    fn lines_are_sorted_byte_by_byte() {
        let stacks = [&["a", "b"][..], &["a"], &["a::b", "c"], &["a", "b", "c"], &["a", "b-c"], &["a b"]];
        let snapshot = snapshot(stacks.iter().map(|stack| of_stack(stack, 1)).collect());
        let lines = lines(&snapshot, Rank::LiveBytes);
        let stacks: Vec<&str> = lines.lines().map(|line| line.strip_suffix(" 1").unwrap()).collect();
        assert_eq!(stacks, ["a", "a b", "a::b;c", "a;b", "a;b-c", "a;b;c"]);
        assert!(stacks.is_sorted());
    }

    #[test]
    fn nothing_is_no_line() {
        assert_eq!(lines(&snapshot(Vec::new()), Rank::LiveBytes), "");
    }
}
