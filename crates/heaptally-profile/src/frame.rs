//! What is known about one instruction pointer: the source lines at it and the file it was loaded
//! from.
//!
//! Made by the symbolizer on the aggregator thread, once per address; read on any thread; never
//! changed.

use std::sync::Arc;

/// One source-level frame. A function that the optimizer inlined has a `Line` of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The demangled path of the function, without the hash.
    pub function: Arc<str>,
    /// The source file, where debug information has it.
    pub file: Option<Arc<str>>,
    /// The line in that file, counted from one.
    pub line: Option<u32>,
}

/// One frame of a call stack: an address and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The instruction pointer at the leaf, the return address above it, as captured.
    pub ip: u64,
    /// The loaded file that contains the address.
    pub mapping: Option<Arc<Mapping>>,
    /// The functions at the address: innermost inlined one first, the function that contains the
    /// code last. Empty when the address has no symbol.
    pub lines: Arc<[Line]>,
}

/// A loaded executable or shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The path of the file, or a name in brackets such as `[vdso]`.
    pub path: String,
    /// The linker's build id in lower-case hexadecimal digits.
    pub build_id: Option<String>,
    /// The load bias: an address in memory minus this is the address in the file.
    pub start: u64,
    /// Where its code lies, sorted by address. Empty when that is not known.
    pub segments: Vec<Segment>,
}

impl Mapping {
    /// The segment that contains the code before an address: the call, if that is a return address. `None` when it is not
    /// known.
    ///
    /// ```
    /// use heaptally_profile::{Mapping, Segment};
    ///
    /// let code = Segment { start: 0x5000_1000, limit: 0x5000_3000, offset: 0x1000 };
    /// let app = Mapping { path: "/opt/app".into(), build_id: None, start: 0x5000_0000, segments: vec![code] };
    /// assert_eq!(app.segment(0x5000_3000), Some(&code));
    /// assert_eq!(app.segment(0x5000_1000), None);
    /// ```
    pub fn segment(&self, ip: u64) -> Option<&Segment> {
        let code = ip.wrapping_sub(1);
        self.segments.iter().find(|segment| (segment.start..segment.limit).contains(&code))
    }
}

/// A part of a file that was loaded as code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The address of its first byte.
    pub start: u64,
    /// The address behind its last byte.
    pub limit: u64,
    /// Where in the file the first byte is.
    pub offset: u64,
}
