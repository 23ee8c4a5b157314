//! The process's resident memory, exactly.

use std::fs::File;
use std::io::Read;

/// `Rss` of `/proc/self/smaps_rollup`, in bytes: the kernel walks the page tables for it. `statm` has it from counters
/// that each processor keeps for itself, which is off by some pages. Allocates nothing.
pub(crate) fn resident_bytes() -> Result<u64, String> {
    let mut text = [0; 4096];
    let length = File::open("/proc/self/smaps_rollup")
        .and_then(|mut file| file.read(&mut text))
        .map_err(|error| format!("/proc/self/smaps_rollup: {error}"))?;
    let text = str::from_utf8(&text[..length]).map_err(|error| format!("/proc/self/smaps_rollup: {error}"))?;
    parse(text).ok_or("/proc/self/smaps_rollup has no Rss".to_owned())
}

fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_whole_process_is_read() {
        let text = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:                1756 kB\nPss:     210 kB\n";
        assert_eq!(parse(text), Some(1756 * 1024));
        assert_eq!(parse("Pss: 210 kB\n"), None);
    }

    #[test]
    fn written_pages_are_resident() {
        let before = resident_bytes().unwrap();
        let written = std::hint::black_box(vec![1_u8; 256 << 20]);
        let grown = resident_bytes().unwrap() - before;
        // Other tests of this process allocate and free meanwhile, some 50 MiB.
        assert!((192 << 20..320 << 20).contains(&grown), "{grown} bytes for {}", written.len());
    }
}
