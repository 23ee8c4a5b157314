//! What sites are added up by, and which of them belong together.
//!
//! Pure functions of a site, for any thread; the name of a line allocates. Counters are none of its business.

use std::sync::Arc;

use crate::site::{Location, Owner, Site};
use crate::site_kind::SiteKind;
use crate::stack::NodeId;

/// What the sites of a snapshot are added up by, one row for each.
///
/// A row that is no function, such as `(other: tokio)` or `(paused)`, stays a row of its own whatever the others are
/// added up by; only [`Stack`](Grouping::Stack) tells its stacks apart, where it has any. So the rows of each grouping
/// add up to the same sums.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use heaptally_profile::{Counts, Grouping, Location, Owner, Site, SiteKind, Snapshot, SnapshotParts};
/// # let site = |function: &str, bytes| {
/// #     let location = Some(Location { file: "src/cache.rs".into(), line: Some(7) });
/// #     let owner = Owner { function: function.into(), module: Some("app".into()), location };
/// #     let counts = Counts { allocated_blocks: 1, allocated_bytes: bytes, ..Counts::ZERO };
/// #     Site::new(SiteKind::Module, Arc::new(owner), None, counts)
/// # };
/// # let sites = vec![site("app::cache::put", 100), site("app::cache::grow", 50)];
/// # let snapshot = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
/// let files = snapshot.rows_by(Grouping::File);
/// assert_eq!((files[0].name(), files[0].counts().live_bytes()), ("src/cache.rs", 150));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grouping {
    /// The function that a site is charged to.
    Function,
    /// The configured module of that function, or its crate when none is configured; `(no module)` without one.
    Module,
    /// The source file in that function; `(no file)` where debug information has none.
    File,
    /// The source line in that function, as `file:line`; the file alone without a line, `(no file)` without a file.
    Line,
    /// The whole call stack. Rows are named by the function that it is charged to.
    Stack,
}

impl Grouping {
    /// What one row of it is called in a sentence.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Module => "module",
            Self::File => "file",
            Self::Line => "line",
            Self::Stack => "stack",
        }
    }

    /// Equal for exactly the sites that are one row, also for those of two snapshots of one process.
    pub(crate) fn key(self, site: &Site) -> Key<'_> {
        let function = Key::Function(site.kind(), site.function());
        match self {
            // Not the kind: a stack stays the same when another module, or none, takes it.
            Self::Stack => site.node().map_or(function, Key::Stack),
            _ if site.kind() != SiteKind::Module => function,
            Self::Function => function,
            Self::Module => Key::Module(site.module()),
            Self::File => Key::File(site.location().map(|location| &*location.file)),
            Self::Line => Key::Line(site.location()),
        }
    }
}

/// What the sites of one row have in common. Those that are no function are found by kind and text, since a function
/// may be named like them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key<'a> {
    Function(SiteKind, &'a str),
    Module(Option<&'a str>),
    File(Option<&'a str>),
    Line(Option<&'a Location>),
    Stack(NodeId),
}

impl Key<'_> {
    /// The name of the row, with the owner of any of its sites.
    pub(crate) fn name(&self, owner: &Owner) -> Arc<str> {
        let file = || owner.location.as_ref().map(|location| Arc::clone(&location.file));
        match self {
            Self::Function(..) | Self::Stack(_) => Arc::clone(&owner.function),
            Self::Module(_) => owner.module.clone().unwrap_or_else(|| Arc::from("(no module)")),
            Self::File(_) | Self::Line(None) => file().unwrap_or_else(|| Arc::from("(no file)")),
            Self::Line(Some(location)) => location.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::counts::Counts;
    use crate::fixtures::{counts, site, site_at, site_in, snapshot, stack_tables};
    use crate::row::Row;

    use super::*;

    const ALL: [Grouping; 5] = [Grouping::Function, Grouping::Module, Grouping::File, Grouping::Line, Grouping::Stack];

    fn of_owner(kind: SiteKind, function: &str, module: Option<&str>, location: Option<Location>) -> Site {
        let owner = Owner { function: function.into(), module: module.map(Arc::from), location };
        Site::new(kind, Arc::new(owner), None, counts(1, 8, 0, 0))
    }

    fn rows(sites: &[Site], grouping: Grouping) -> Vec<(String, Counts, u32)> {
        let rows = snapshot(sites.to_vec()).rows_by(grouping);
        rows.iter().map(|row| (row.name().to_owned(), row.counts(), row.sites())).collect()
    }

    /// Two functions in one file, one of them in two lines and one line of it on two stacks.
    #[test]
    fn sites_are_added_up_by_function_file_line_module_and_stack() {
        let sites = [
            site_at("app::put", 1, 10, counts(1, 1, 0, 0)),
            site_at("app::put", 2, 10, counts(2, 20, 0, 0)),
            site_at("app::put", 3, 11, counts(3, 300, 1, 100)),
            site_at("app::get", 4, 10, counts(4, 4_000, 0, 0)),
            site_in("/home/me/app/src/pool.rs", "app::pool", counts(5, 50_000, 0, 0)),
        ];
        let of = |name: &str, counts, sites| (name.to_owned(), counts, sites);
        assert_eq!(
            rows(&sites, Grouping::Function),
            [
                of("app::pool", counts(5, 50_000, 0, 0), 1),
                of("app::get", counts(4, 4_000, 0, 0), 1),
                of("app::put", counts(6, 321, 1, 100), 3),
            ]
        );
        assert_eq!(rows(&sites, Grouping::Module), [of("app", counts(15, 54_321, 1, 100), 5)]);
        assert_eq!(
            rows(&sites, Grouping::File),
            [
                of("/home/me/app/src/pool.rs", counts(5, 50_000, 0, 0), 1),
                of("/home/me/app/src/main.rs", counts(10, 4_321, 1, 100), 4),
            ]
        );
        assert_eq!(
            rows(&sites, Grouping::Line),
            [
                of("/home/me/app/src/pool.rs:1", counts(5, 50_000, 0, 0), 1),
                of("/home/me/app/src/main.rs:10", counts(7, 4_021, 0, 0), 3),
                of("/home/me/app/src/main.rs:11", counts(3, 300, 1, 100), 1),
            ]
        );
        assert_eq!(
            rows(&sites, Grouping::Stack),
            [
                of("app::pool", counts(5, 50_000, 0, 0), 1),
                of("app::get", counts(4, 4_000, 0, 0), 1),
                of("app::put", counts(3, 300, 1, 100), 1),
                of("app::put", counts(2, 20, 0, 0), 1),
                of("app::put", counts(1, 1, 0, 0), 1),
            ]
        );
    }

    #[test]
    fn a_row_that_is_no_function_is_a_row_of_its_own_by_everything() {
        let sites = [
            site("app::f", counts(1, 1_000, 0, 0)),
            of_owner(SiteKind::Other, "(other: tokio)", None, None),
            of_owner(SiteKind::Other, "(other: tokio)", None, None),
            Site::pseudo(SiteKind::NoSymbols, counts(1, 7, 0, 0)),
            Site::pseudo(SiteKind::Paused, counts(1, 6, 0, 0)),
        ];
        for grouping in ALL {
            let names: Vec<String> = rows(&sites, grouping).into_iter().map(|(name, ..)| name).collect();
            assert_eq!(names[1..], ["(other: tokio)", "(no symbols)", "(paused)"], "{grouping:?}");
        }
    }

    #[test]
    fn functions_without_a_module_or_a_file_are_in_a_row_that_says_so() {
        let place = Location { file: "src/lib.rs".into(), line: None };
        let sites = [
            of_owner(SiteKind::Module, "f", None, None),
            of_owner(SiteKind::Module, "g", None, None),
            of_owner(SiteKind::Module, "h", Some("app"), Some(place)),
        ];
        for (grouping, names) in [
            (Grouping::Module, ["(no module)", "app"]),
            (Grouping::File, ["(no file)", "src/lib.rs"]),
            (Grouping::Line, ["(no file)", "src/lib.rs"]),
        ] {
            let [unknown, known] = names.map(str::to_owned);
            let expected = [(unknown, counts(2, 16, 0, 0), 2), (known, counts(1, 8, 0, 0), 1)];
            assert_eq!(rows(&sites, grouping), expected, "{grouping:?}");
        }
    }

    #[test]
    fn a_module_named_like_a_pseudo_row_is_a_row_of_its_own() {
        let sites =
            [of_owner(SiteKind::Module, "f", Some("(paused)"), None), Site::pseudo(SiteKind::Paused, Counts::ZERO)];
        assert_eq!(rows(&sites, Grouping::Module).len(), 2);
    }

    #[test]
    fn only_rows_of_one_stack_have_frames() {
        let (tables, leaf) = stack_tables(&["main", "app::run"]);
        let owner = Owner { function: "app::run".into(), module: Some("app".into()), location: None };
        let site = Site::new(SiteKind::Module, Arc::new(owner), Some((tables, leaf)), counts(1, 8, 0, 0));
        let snapshot = snapshot(vec![site, Site::pseudo(SiteKind::Paused, counts(1, 4, 0, 0))]);
        let ips = |row: &Row| row.frames().map(|frame| frame.ip).collect::<Vec<_>>();
        let rows = snapshot.rows_by(Grouping::Stack);
        assert_eq!((ips(&rows[0]), ips(&rows[1])), (vec![1, 0], vec![]));
        assert!(snapshot.by_function().iter().all(|row| row.frames().count() == 0));
    }
}
