//! `syn`: Rust source files parsed into syntax trees, which are then dropped.
//!
//! What compilers and code generators do: millions of small blocks, deep recursion, thousands of distinct stacks.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use crate::work::Work;

pub(crate) struct Sources {
    texts: Vec<String>,
}

impl Sources {
    /// Reads the files that the list names, one a line. Files that do not parse are left out: tests of compilers
    /// contain such on purpose.
    pub(crate) fn read(list: &Path) -> Result<Self, String> {
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut texts = Vec::new();
        for path in read(list)?.lines() {
            let text = read(Path::new(path))?;
            if syn::parse_file(&text).is_ok() {
                texts.push(text);
            }
        }
        Ok(Self { texts })
    }
}

impl Work for Sources {
    fn operation(&self) -> &'static str {
        "file"
    }

    fn operations_a_lap(&self) -> u64 {
        self.texts.len() as u64
    }

    fn lap(&mut self) -> u64 {
        let items = |text: &String| syn::parse_file(black_box(text)).expect("it parsed before").items.len();
        self.texts.iter().map(items).sum::<usize>() as u64
    }
}
