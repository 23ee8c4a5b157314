//! One program in several profiles: every byte is charged to the function that the profile lets heaptally see.
//!
//! Builds `src/bin/attribution` with the profile's keys set through the environment, in a target directory of its
//! own, runs it and compares what it prints with the table below, which was computed by hand from the program's
//! source. The output of each run is kept beside the target directory; the tables of docs/profiles.md are taken from
//! there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Allocated blocks and bytes, freed blocks and bytes.
type Counts = [u64; 4];

/// What becomes of a function's blocks where the debug information has no inlined frames.
#[derive(Clone, Copy)]
enum Code {
    /// A function in every profile.
    Own,
    /// Always inlined: charged to the row named here.
    InlinedInto(&'static str),
    /// The optimizer decides: whole in its own row, or whole in the row named here.
    PerhapsIn(&'static str),
}
use Code::{InlinedInto, Own, PerhapsIn};

struct Expected {
    legacy: &'static str,
    v0: &'static str,
    counts: Counts,
    code: Code,
}

const fn row(legacy: &'static str, v0: &'static str, counts: Counts, code: Code) -> Expected {
    Expected { legacy, v0, counts, code }
}

/// The rows of no module that the main thread causes: `app_utils::plain` and `app_utils::wrap`.
const OUTSIDE: &str = "(other: attribution)";
const TOKIO: &str = "(other: tokio)";

/// What the main thread does. With [`OUTSIDE`] 49 blocks and 4,460 bytes, of which 9 and 468 are freed.
#[rustfmt::skip]
const CALLS: &[Expected] = &[
    row("attribution::app::plain", "attribution::app::plain", [3, 300, 0, 0], Own),
    row("attribution::app::generic", "attribution::app::generic::<u8>", [2, 32, 0, 0], Own),
    row("attribution::app::generic", "attribution::app::generic::<u64>", [2, 256, 0, 0], Own),
    row("attribution::app::Cache<T>::insert", "<attribution::app::Cache<u32>>::insert", [2, 48, 1, 16], Own),
    row("attribution::app::closure::{{closure}}", "attribution::app::closure::{closure#0}", [2, 120, 0, 0], Own),
    row("<attribution::app::Widget as core::default::Default>::default",
        "<attribution::app::Widget as core::default::Default>::default", [2, 104, 1, 52], Own),
    row("<attribution::app::Widget as attribution::app::Build>::build",
        "<attribution::app::Widget as attribution::app::Build>::build", [2, 168, 0, 0], Own),
    row("attribution::app::Build::build_again",
        "<attribution::app::Widget as attribution::app::Build>::build_again", [1, 132, 0, 0], Own),
    row("<alloc::vec::Vec<u8> as attribution::app::Fill>::fill",
        "<alloc::vec::Vec<u8> as attribution::app::Fill>::fill", [1, 236, 0, 0], Own),
    row("attribution::app::frees_two_of_five", "attribution::app::frees_two_of_five", [5, 200, 2, 80], Own),
    row("attribution::app::hands_over", "attribution::app::hands_over", [4, 288, 4, 288], Own),
    row("attribution::app::delegates", "attribution::app::delegates", [2, 72, 0, 0], Own),
    row("attribution::app::inlined::outer", "attribution::app::inlined::outer", [1, 208, 0, 0], Own),
    row("attribution::app::inlined::pushes", "attribution::app::inlined::pushes", [2, 96, 1, 32],
        InlinedInto("attribution::app::inlined::outer")),
    row("attribution::app::inlined::outermost", "attribution::app::inlined::outermost", [1, 120, 0, 0], Own),
    row("attribution::app::inlined::middle", "attribution::app::inlined::middle", [1, 88, 0, 0],
        InlinedInto("attribution::app::inlined::outermost")),
    row("attribution::app::inlined::innermost", "attribution::app::inlined::innermost", [2, 112, 0, 0],
        InlinedInto("attribution::app::inlined::outermost")),
    row("attribution::app::inlined::maps", "attribution::app::inlined::maps", [1, 152, 0, 0], Own),
    row("attribution::app::inlined::maps::{{closure}}", "attribution::app::inlined::maps::{closure#0}",
        [3, 192, 0, 0], InlinedInto("attribution::app::inlined::maps")),
    row("attribution::app::inlined::describes", "attribution::app::inlined::describes", [1, 28, 0, 0], Own),
    row("<attribution::app::Widget as attribution::app::inlined::Describe>::describe",
        "<attribution::app::Widget as attribution::app::inlined::Describe>::describe", [1, 68, 0, 0],
        InlinedInto("attribution::app::inlined::describes")),
    row("attribution::app::inlined::stray", "attribution::app::inlined::stray", [2, 1000, 0, 0], InlinedInto(OUTSIDE)),
    row(OUTSIDE, OUTSIDE, [6, 440, 0, 0], Own),
];
const ALL_CALLS: Counts = [49, 4460, 9, 468];

/// What the two threads of the runtime do, beside the runtime itself.
#[rustfmt::skip]
const TASKS: &[Expected] = &[
    row("attribution::app::tasks::fetch::{{closure}}", "attribution::app::tasks::fetch::{closure#0}",
        [5, 2944, 2, 1024], Own),
    row("attribution::app::tasks::decode::{{closure}}", "attribution::app::tasks::decode::{closure#0}",
        [2, 320, 0, 0], PerhapsIn("attribution::app::tasks::fetch::{{closure}}")),
    row("attribution::app::tasks::serve::{{closure}}", "attribution::app::tasks::serve::{closure#0}",
        [4, 384, 0, 0], PerhapsIn(TOKIO)),
    row("attribution::app::tasks::handle", "attribution::app::tasks::handle", [3, 72, 0, 0], Own),
];

#[test]
fn debug_1_holds_every_row() {
    Run::of("debug-1", &[("DEBUG", "1")]).holds_every_row(|expected| expected.legacy);
}

#[test]
fn debug_2_holds_every_row() {
    Run::of("debug-2", &[("DEBUG", "2")]).holds_every_row(|expected| expected.legacy);
}

#[test]
fn fat_lto_with_panic_abort_holds_every_row() {
    let keys = [("DEBUG", "1"), ("LTO", "fat"), ("PANIC", "abort")];
    Run::of("fat-lto-abort", &keys).holds_every_row(|expected| expected.legacy);
}

#[test]
fn v0_mangling_holds_every_row() {
    let keys = [("DEBUG", "1"), ("RUSTFLAGS", "-Csymbol-mangling-version=v0")];
    Run::of("debug-1-v0", &keys).holds_every_row(|expected| expected.v0);
}

#[test]
fn default_release_charges_inlined_functions_to_the_next_outer_one() {
    let run = Run::of("default-release", &[("DEBUG", "0")]);
    run.holds_functions("FunctionsOnly");
    assert!(run.value("advice").contains("set `debug = 1` in [profile.release]"));
}

#[test]
fn line_tables_only_takes_paths_from_the_symbol_table() {
    let run = Run::of("line-tables-only", &[("DEBUG", "line-tables-only")]);
    run.holds_functions("LinesOnly");
    assert!(run.value("advice").contains("set `debug = 1` in [profile.release]"));
}

#[test]
fn strip_puts_all_bytes_into_no_symbols() {
    let run = Run::of("strip", &[("DEBUG", "0"), ("STRIP", "true")]);
    run.is_conserved();
    assert_eq!(run.value("verdict"), "Stripped");
    assert!(run.value("advice").contains("set `strip = false`"));
    assert_eq!(run.values("unmatched", "tasks"), ["attribution::app", "attribution::nowhere"]);
    let no_symbols = run.rows("calls", &["NoSymbols", "Module", "Other"]);
    assert_eq!(no_symbols, BTreeMap::from([("(no symbols)".to_owned(), ALL_CALLS)]));
    let no_symbols = run.rows("tasks", &["NoSymbols", "Module", "Other"]);
    assert_eq!(no_symbols.into_keys().collect::<Vec<_>>(), ["(no symbols)"]);
}

/// What the program printed: lines of a field, a phase (`calls`, then `tasks`) and values.
struct Run {
    lines: Vec<Vec<String>>,
}

impl Run {
    /// Builds the program with these keys of `[profile.release]` (and `RUSTFLAGS`), and runs it.
    fn of(name: &str, keys: &[(&str, &str)]) -> Self {
        let program = build(name, keys);
        let output = Command::new(&program).output().expect("the program was built");
        let printed = String::from_utf8(output.stdout).expect("text");
        std::fs::write(program.with_extension("txt"), &printed).expect("a writable target directory");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {}\n{printed}{errors}", output.status);
        println!("{printed}");
        let fields = printed.lines().take_while(|line| *line != "table");
        Self { lines: fields.map(|line| line.split('\t').map(str::to_owned).collect()).collect() }
    }

    /// Inlined frames included, by the names of the mangling.
    fn holds_every_row(&self, name: impl Fn(&Expected) -> &'static str) {
        let full = |expected: &[Expected]| sums(expected.iter().map(|row| (name(row), row.counts)));
        self.holds(full(CALLS), full(TASKS), |rows| rows);
        assert_eq!(self.value("verdict"), "Full");
        assert_eq!(self.value("advice"), "none");
    }

    /// What is inlined is charged to the function it was inlined into.
    fn holds_functions(&self, verdict: &str) {
        let charged = |expected: &[Expected]| {
            sums(expected.iter().map(|row| match row.code {
                Own => (row.legacy, row.counts),
                InlinedInto(outer) | PerhapsIn(outer) => (outer, row.counts),
            }))
        };
        self.holds(charged(CALLS), charged(TASKS), |mut rows| {
            for row in TASKS {
                if let PerhapsIn(outer) = row.code
                    && let Some(counts) = rows.remove(row.legacy)
                {
                    assert_eq!(counts, row.counts, "{}", row.legacy);
                    add(&mut rows, outer, counts);
                }
            }
            rows
        });
        assert_eq!(self.value("verdict"), verdict);
    }

    /// Compares both phases. The rows of no module are known on the main thread; those that the runtime causes are
    /// not.
    fn holds(&self, calls: Rows, tasks: Rows, charge: impl Fn(Rows) -> Rows) {
        self.is_conserved();
        assert_eq!(self.values("unmatched", "calls"), ["attribution::nowhere"]);
        assert_eq!(self.values("unmatched", "tasks"), ["attribution::nowhere"]);
        assert_eq!(self.rows("calls", &["Module", "Other", "NoSymbols"]), calls);

        let mut modules = calls;
        modules.extend(tasks);
        modules.retain(|name, _| !name.starts_with("(other: "));
        let mut charged = charge(self.rows("tasks", &["Module"]));
        charged.remove(TOKIO);
        assert_eq!(charged, modules);
        assert!(self.rows("tasks", &["Other"]).contains_key(TOKIO));
        assert!(self.rows("tasks", &["NoSymbols"]).is_empty());
    }

    /// Both phases are conserved and nothing went anywhere but to code, and to what preceded the start.
    fn is_conserved(&self) {
        for phase in ["calls", "tasks"] {
            assert_eq!(self.values("check", phase), ["holds"]);
            let [totals] = &self.fields("totals", phase)[..] else { panic!("one line of totals") };
            let rows = self.fields("row", phase);
            let sum = rows.iter().map(|row| counts(&row[2..])).fold([0; 4], plus);
            assert_eq!(sum, counts(totals));
            let lost = self.rows(phase, &["NoStack", "Overflow", "Paused", "UnknownFrees"]);
            assert_eq!(lost, Rows::new());
        }
    }

    /// The rows of these kinds by function.
    fn rows(&self, phase: &str, kinds: &[&str]) -> Rows {
        let rows = self.fields("row", phase).into_iter();
        sums(rows.filter(|row| kinds.contains(&row[0].as_str())).map(|row| (row[1].as_str(), counts(&row[2..]))))
    }

    /// What the lines of a field and phase have behind them.
    fn fields(&self, field: &str, phase: &str) -> Vec<&[String]> {
        self.lines.iter().filter(|line| line[0] == field && line[1] == phase).map(|line| &line[2..]).collect()
    }

    fn values(&self, field: &str, phase: &str) -> Vec<&str> {
        self.fields(field, phase).into_iter().map(|values| values[0].as_str()).collect()
    }

    /// The one value of a field that must be the same in both phases.
    fn value(&self, field: &str) -> &str {
        let (calls, tasks) = (self.values(field, "calls"), self.values(field, "tasks"));
        assert_eq!(calls, tasks);
        calls[0]
    }
}

type Rows = BTreeMap<String, Counts>;

fn sums<'a>(rows: impl Iterator<Item = (&'a str, Counts)>) -> Rows {
    let mut sums = Rows::new();
    rows.for_each(|(name, counts)| add(&mut sums, name, counts));
    sums
}

fn add(rows: &mut Rows, name: &str, counts: Counts) {
    let sum = rows.entry(name.to_owned()).or_default();
    *sum = plus(*sum, counts);
}

fn plus(a: Counts, b: Counts) -> Counts {
    std::array::from_fn(|i| a[i] + b[i])
}

fn counts(fields: &[String]) -> Counts {
    std::array::from_fn(|i| fields[i].parse().expect("a number"))
}

/// What is attributed is optimized as in any release; what only reads symbols a little less, to be built in half the
/// time.
const DEPENDENCIES_LESS_OPTIMIZED: &str = "profile.release.package.\"*\".opt-level=1";

/// The program built with the given keys, under the given name. One build at a time: all end in the same file.
///
/// The profiles share a target directory, because cargo keeps what was built with different keys apart.
fn build(name: &str, keys: &[(&str, &str)]) -> PathBuf {
    static BUILD: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILD.lock().unwrap_or_else(PoisonError::into_inner);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attribution");

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--release", "--bin", "attribution"]);
    cargo.args(["--config", DEPENDENCIES_LESS_OPTIMIZED, "--manifest-path"]);
    cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).arg("--target-dir").arg(&target);
    for (key, _) in std::env::vars_os() {
        let key_text = key.to_string_lossy();
        if key_text.starts_with("CARGO_PROFILE_RELEASE_") || key_text.ends_with("RUSTFLAGS") {
            cargo.env_remove(&key);
        }
    }
    for (key, value) in keys {
        let key = if *key == "RUSTFLAGS" { key.to_string() } else { format!("CARGO_PROFILE_RELEASE_{key}") };
        cargo.env(key, value);
    }
    let built = cargo.status().expect("cargo");
    assert!(built.success(), "{name}: cargo build: {built}");

    let program = target.join(name);
    std::fs::copy(target.join("release/attribution"), &program).expect("the program was built");
    program
}
