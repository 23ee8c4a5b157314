//! Runs a program to its end, or to its time limit, and gives what it printed.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Above what any step takes: the longest are building a subject, and `syn` with a tracker that walks stacks slowly.
const LIMIT: Duration = Duration::from_secs(15 * 60);
const POLL: Duration = Duration::from_millis(5);
/// Between asking a program to end and ending it.
const GRACE: Duration = Duration::from_secs(2);

/// What it printed to stdout.
///
/// # Errors
///
/// One line: why it failed. See [`complaint`].
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    both(command).map(|(stdout, _)| stdout)
}

/// How a program came to its end, which was no failure.
#[derive(Debug, PartialEq)]
pub(crate) enum Ending {
    /// With what it printed to stdout.
    Itself(String),
    AtLimit {
        process_id: u32,
    },
}

/// [`output`] of a program that may take too long. It gets a process group of its own, so that what it has started can
/// be ended with it; a signal from the terminal does not reach it.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Result<Ending, String> {
    let mut child = spawn(command.process_group(0))?;
    match finish(&mut child, limit)? {
        Some((stdout, _)) => Ok(Ending::Itself(stdout)),
        None => end_group(&mut child).map(|()| Ending::AtLimit { process_id: child.id() }),
    }
}

/// What it printed to stdout and to stderr.
pub(crate) fn both(command: &mut Command) -> Result<(String, String), String> {
    let mut child = spawn(command)?;
    if let Some(both) = finish(&mut child, LIMIT)? {
        return Ok(both);
    }
    // It may have ended just now: then there is nothing to kill.
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("ended after {} minutes", LIMIT.as_secs() / 60))
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("{program}: {error}"))
}

/// What it printed to both, or nothing if it has not ended within the limit.
fn finish(child: &mut Child, limit: Duration) -> Result<Option<(String, String)>, String> {
    let stdout = read(child.stdout.take().expect("piped"));
    let stderr = read(child.stderr.take().expect("piped"));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if begun.elapsed() > limit {
            return Ok(None);
        }
        thread::sleep(POLL);
    };
    let (stdout, stderr) = (stdout.join().expect("a reader"), stderr.join().expect("a reader"));
    if status.success() { Ok(Some((stdout, stderr))) } else { Err(complaint(&stderr, &status.to_string())) }
}

/// Asks first, so that what cleans up can.
fn end_group(child: &mut Child) -> Result<(), String> {
    for signal in ["-TERM", "-KILL"] {
        // It may have ended just now: then there is nothing to end.
        let _ = Command::new("kill").args([signal, "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            if child.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
    }
    Err("cannot be ended".to_owned())
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

/// The first line that says what went wrong: an error or a panic, else the last line with the status.
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
    match stderr.lines().rfind(|line| !line.trim().is_empty()) {
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
    fn what_takes_too_long_is_ended_with_all_that_it_started() {
        let started = std::env::temp_dir().join(format!("heaptally-bench-test-{}", std::process::id()));
        let script = format!("sleep 60 & echo $! > {}; wait", started.display());
        let ending = output_within(Command::new("sh").args(["-c", &script]), Duration::from_millis(500));
        assert!(matches!(ending, Ok(Ending::AtLimit { .. })), "{ending:?}");
        let sleeper = std::fs::read_to_string(&started).unwrap();
        std::fs::remove_file(&started).unwrap();
        // A process that has ended may be there a little longer, until its parent has asked; and it has no command line.
        let command_line = || std::fs::read(format!("/proc/{}/cmdline", sleeper.trim())).unwrap_or_default();
        // Its signal was sent, which on a busy machine it takes later than its parent.
        let begun = Instant::now();
        while !command_line().is_empty() && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(POLL);
        }
        assert_eq!(String::from_utf8_lossy(&command_line()), "");
        assert_eq!(output_within(Command::new("echo").arg("done"), LIMIT), Ok(Ending::Itself("done\n".to_owned())));
    }

    #[test]
    fn what_says_nothing_is_told_by_its_status() {
        assert_eq!(complaint("", "signal: 11 (SIGSEGV)"), "signal: 11 (SIGSEGV)");
        assert_eq!(complaint("even\nodd\n\n", "signal: 6 (SIGABRT)"), "odd (signal: 6 (SIGABRT))");
    }
}
