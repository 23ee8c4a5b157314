//! What fuzzers have kept, as ordinary tests: every file of `tests/fuzz/corpus/TARGET`, and what it becomes by changes that
//! are the same in every run.
//!
//! Compiled into each test that names it, in crates without std too. Runs the property on the calling thread.

extern crate std;

use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;
use std::{format, fs, println, thread};

use random::Random;

#[allow(unreachable_pub, reason = "it is public in the package that it belongs to")]
#[path = "../../src/random.rs"]
mod random;

/// Changes made to an input, one after the other, at most.
const MOST_CHANGES: usize = 4;
/// Bytes that are put in, taken out or copied at once, at most.
const MOST_BYTES: usize = 16;
/// Inputs do not grow beyond it.
const MOST_INPUT_BYTES: usize = 4096;

/// Calls `property` with the files of the corpus, and with `mutations` changed inputs for each of them.
///
/// # Panics
///
/// Where the property does, after the input was printed; and without a corpus.
pub(crate) fn replay(target: &str, mutations: usize, mut property: impl FnMut(&[u8])) {
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "no file in the corpus of {target}");
    for (name, input) in &inputs {
        run(&format!("{name} of {target}"), input, &mut property);
    }
    let mut random = Random::new(0);
    for (name, input) in &inputs {
        for number in 0..mutations {
            let (_, other) = &inputs[random.below(inputs.len())];
            let changed = changed(input, other, &mut random);
            run(&format!("{name} of {target}, change {number}"), &changed, &mut property);
        }
    }
}

/// Names and bytes of all files, sorted by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = package.ancestors().map(|folder| folder.join("tests/fuzz/corpus").join(target));
    let folder: PathBuf = folders.find(|folder| folder.is_dir()).expect("a checkout of the repository");
    let files = fs::read_dir(&folder).expect("a readable folder").map(|file| file.expect("a readable folder").path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().map(|file| (name(file), fs::read(file).expect("a readable file"))).collect()
}

fn run(what: &str, input: &[u8], property: &mut impl FnMut(&[u8])) {
    struct Told<'a>(&'a str, &'a [u8]);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                println!("{}: b\"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }
    let _told = Told(what, input);
    property(input);
}

/// `input` with one to four changes, among them parts of another one.
fn changed(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut changed = Vec::from(input);
    for _ in 0..1 + random.below(MOST_CHANGES) {
        let place = random.below(changed.len() + 1);
        let len = random.below(MOST_BYTES).min(changed.len() - place);
        match random.below(6) {
            0 if len > 0 => changed[place] ^= 1 << random.below(8),
            1 if len > 0 => changed[place] = random.below(256) as u8,
            2 => drop(changed.drain(place..place + len)),
            3 => changed.insert(place, random.below(256) as u8),
            4 => {
                let copied = Vec::from(&changed[place..place + len]);
                let target = random.below(changed.len() + 1);
                drop(changed.splice(target..target, copied));
            }
            _ => {
                let from = random.below(other.len() + 1);
                let until = other.len().min(from + random.below(MOST_BYTES));
                drop(changed.splice(place..place + len, other[from..until].iter().copied()));
            }
        }
    }
    changed.truncate(MOST_INPUT_BYTES);
    changed
}
