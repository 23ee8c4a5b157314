//! How much memory of the process is resident, asked without allocating any.

use std::fs::File;
use std::io::Read;

/// Bytes of the process's own that are in memory now, as the kernel counts them: without the pages of the executable
/// and its libraries, of which more come in whenever code runs for the first time.
///
/// # Panics
///
/// When `/proc` does not tell.
pub fn resident_bytes() -> u64 {
    let mut text = [0_u8; 256];
    let len = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text)).expect("a mounted /proc");
    let mut pages = text[..len].split(|&byte| byte == b' ').map(number).skip(1);
    let (resident, from_files) = (pages.next().expect("seven numbers"), pages.next().expect("seven numbers"));
    // SAFETY: sysconf only reads.
    (resident - from_files) * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().filter(|digit| digit.is_ascii_digit()).fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
