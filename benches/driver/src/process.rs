//! Runs a program to its end, or to its time limit, and gives what it printed.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Above what any step takes: the longest are building a subject, and `syn` with a tracker that walks stacks slowly.
const LIMIT: Duration = Duration::from_secs(15 * 60);
const POLL: Duration = Duration::from_millis(5);

/// What it printed to stdout.
///
/// # Errors
///
/// One line: why it failed. See [`complaint`].
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    both(command).map(|(stdout, _)| stdout)
}

/// What it printed to stdout and to stderr.
pub(crate) fn both(command: &mut Command) -> Result<(String, String), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    let stdout = read(child.stdout.take().expect("piped"));
    let stderr = read(child.stderr.take().expect("piped"));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if begun.elapsed() > LIMIT {
            // It may have ended just now: then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("ended after {} minutes", LIMIT.as_secs() / 60));
        }
        thread::sleep(POLL);
    };
    let (stdout, stderr) = (stdout.join().expect("a reader"), stderr.join().expect("a reader"));
    if status.success() { Ok((stdout, stderr)) } else { Err(complaint(&stderr, &status.to_string())) }
}

/// Reads beside the wait, so that a program that prints much is not held up by a full pipe.
fn read(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The first line that says what went wrong: an error or a panic, else the first line, else the status.
fn complaint(stderr: &str, status: &str) -> String {
    let mut lines = stderr.lines().filter(|line| !line.trim().is_empty());
    while let Some(line) = lines.clone().next() {
        if line.starts_with("error") {
            return line.to_owned();
        }
        lines.next();
        if line.contains("panicked at") {
            // The message is on the line below.
            return format!("panicked: {}", lines.next().unwrap_or(line));
        }
    }
    match stderr.lines().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{line} ({status})"),
        None => status.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_the_complaint() {
        let stderr = "warning: unused\n\nerror[E0425]: cannot find value\nerror: could not compile\n";
        assert_eq!(complaint(stderr, "exit status: 101"), "error[E0425]: cannot find value");
    }

    #[test]
    fn a_panic_is_told_with_its_message() {
        let stderr = "\nthread '<unnamed>' (7) panicked at src/clock.rs:46:9:\nlap 2 did other work\nnote: run with\n";
        assert_eq!(complaint(stderr, "exit status: 101"), "panicked: lap 2 did other work");
    }

    #[test]
    fn what_says_nothing_is_told_by_its_status() {
        assert_eq!(complaint("", "signal: 11 (SIGSEGV)"), "signal: 11 (SIGSEGV)");
        assert_eq!(complaint("odd\n", "signal: 6 (SIGABRT)"), "odd (signal: 6 (SIGABRT))");
    }
}
