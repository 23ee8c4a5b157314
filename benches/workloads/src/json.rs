//! `json`: a real document parsed into `serde_json::Value`, which is then dropped.
//!
//! Many small blocks, growing vectors (`realloc`), maps, and a recursive parser above every allocation.

use std::hint::black_box;
use std::path::Path;

use serde_json::Value;

use crate::work::Work;

pub(crate) struct Json {
    document: Vec<u8>,
}

impl Json {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let document = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice::<Value>(&document).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { document })
    }
}

impl Work for Json {
    fn operation(&self) -> &'static str {
        "parse"
    }

    fn operations_a_lap(&self) -> u64 {
        1
    }

    fn lap(&mut self) -> u64 {
        let value: Value = serde_json::from_slice(black_box(&self.document)).expect("it parsed before");
        // Walking the whole value would be timed as well.
        let entries = value.as_object().map_or(0, |entries| entries.values().map(width).sum());
        (self.document.len() + entries) as u64
    }
}

fn width(value: &Value) -> usize {
    value.as_array().map_or(1, Vec::len)
}
