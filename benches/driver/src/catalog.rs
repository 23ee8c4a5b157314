//! The subjects, in the order of the report, with what each keeps. Facts only; what is done with them is in subject.rs.
//!
//! What a row says of its peer was looked up in the peer's source of the version in its lock file, and was seen when it
//! ran.

use crate::subject::{Build, Subject, Tool};

const PLAIN: Subject = Subject {
    name: "",
    package: "",
    peer: "",
    build: Build::Default,
    tool: Tool::None,
    words: &[],
    environment: &[],
    keeps: "",
};

/// Beside the System of the comparison, `heaptally_X` is heaptally over the allocator of the subject `X`. A variant of a
/// package has the package's name, a hyphen, and what is different.
pub(crate) const SUBJECTS: [Subject; 22] = [
    Subject { name: "system", package: "system", keeps: "nothing: the system's allocator, glibc here", ..PLAIN },
    Subject {
        name: "heaptally-off",
        package: "heaptally",
        words: &["--before-start"],
        keeps: "before `start`: exact totals of the process; no stacks",
        ..PLAIN
    },
    Subject {
        name: "heaptally-paused",
        package: "heaptally",
        words: &["--paused"],
        keeps: "started, then paused: exact totals, and the row of each block; no stacks",
        ..PLAIN
    },
    Subject {
        name: "heaptally",
        package: "heaptally",
        keeps: "exact, live and cumulative, by whole stack (unwind tables) and by function",
        ..PLAIN
    },
    Subject { name: "jemalloc", package: "jemalloc", peer: "tikv-jemallocator", keeps: "nothing", ..PLAIN },
    Subject {
        name: "heaptally_jemalloc",
        package: "heaptally_jemalloc",
        peer: "tikv-jemallocator",
        keeps: "what heaptally keeps, over jemalloc",
        ..PLAIN
    },
    Subject { name: "mimalloc", package: "mimalloc", peer: "mimalloc", keeps: "nothing", ..PLAIN },
    Subject {
        name: "heaptally_mimalloc",
        package: "heaptally_mimalloc",
        peer: "mimalloc",
        keeps: "what heaptally keeps, over mimalloc",
        ..PLAIN
    },
    Subject {
        name: "stats_alloc",
        package: "stats_alloc",
        peer: "stats_alloc",
        keeps: "exact totals of the process, live and cumulative (six counters); no stacks",
        ..PLAIN
    },
    Subject {
        name: "mod_alloc",
        package: "mod_alloc",
        peer: "mod-alloc",
        keeps: "exact totals; nearly no stack: those are by frame pointers, which a release build does not have",
        ..PLAIN
    },
    Subject {
        name: "mod_alloc-fp",
        package: "mod_alloc",
        peer: "mod-alloc",
        build: Build::FramePointers,
        keeps: "exact totals; cumulative by stack, 8 frames by frame pointers, of the first 4,096 stacks",
        ..PLAIN
    },
    Subject {
        name: "pprof_alloc",
        package: "pprof_alloc",
        peer: "pprof-alloc",
        keeps: "a sample each 512 KiB, live and cumulative, without stacks: those are by frame pointers, which a release \
                build does not have",
        ..PLAIN
    },
    Subject {
        name: "pprof_alloc-fp",
        package: "pprof_alloc",
        peer: "pprof-alloc",
        build: Build::FramePointers,
        keeps: "a sample each 512 KiB, live and cumulative by stack, 128 frames by frame pointers",
        ..PLAIN
    },
    Subject {
        name: "pprof_alloc-every",
        package: "pprof_alloc",
        peer: "pprof-alloc",
        environment: &[("PPROF_ALLOC_SAMPLE_RATE", "1")],
        keeps: "every allocation, live and cumulative, without stacks: those are by frame pointers, which a release \
                build does not have",
        ..PLAIN
    },
    Subject {
        name: "pprof_alloc-every-fp",
        package: "pprof_alloc",
        peer: "pprof-alloc",
        build: Build::FramePointers,
        environment: &[("PPROF_ALLOC_SAMPLE_RATE", "1")],
        keeps: "every allocation, live and cumulative by stack, 128 frames by frame pointers",
        ..PLAIN
    },
    Subject {
        name: "jemalloc_prof-off",
        package: "jemalloc_prof",
        peer: "tikv-jemallocator",
        keeps: "nothing: jemalloc with its profiler compiled in and off",
        ..PLAIN
    },
    Subject {
        name: "jemalloc_prof",
        package: "jemalloc_prof",
        peer: "tikv-jemallocator",
        environment: &[("_RJEM_MALLOC_CONF", "prof:true")],
        keeps: "a sample each 512 KiB (lg_prof_sample 19), live by stack, 128 frames by unwind tables",
        ..PLAIN
    },
    Subject {
        name: "jemalloc_prof-every",
        package: "jemalloc_prof",
        peer: "tikv-jemallocator",
        environment: &[("_RJEM_MALLOC_CONF", "prof:true,lg_prof_sample:0")],
        keeps: "every allocation (lg_prof_sample 0), live by stack, 128 frames by unwind tables",
        ..PLAIN
    },
    Subject {
        name: "heaptrack",
        package: "system",
        tool: Tool::Heaptrack,
        keeps: "every allocation and free, with its whole stack (unwind tables), into a file that is read later",
        ..PLAIN
    },
    Subject {
        name: "dhat",
        package: "dhat",
        peer: "dhat",
        keeps: "every allocation, live, at the peak and cumulative, by stack, 10 frames by unwind tables; a report at exit",
        ..PLAIN
    },
    Subject {
        name: "leaktracer",
        package: "leaktracer",
        peer: "leaktracer",
        keeps: "every allocation, live by function: the innermost of the modules named, of a whole stack (unwind tables)",
        ..PLAIN
    },
    BROKEN,
];

/// Shows what is said of a subject that does not build. It is measured only if it is named.
pub(crate) const BROKEN: Subject = Subject { name: "broken", package: "broken", keeps: "", ..PLAIN };
