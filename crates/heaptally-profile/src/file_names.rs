//! How the source files of one table are named: as short as they stay distinct.
//!
//! A pure function of the paths, which may be anything that debug information holds: absolute or
//! relative, with the separators of any system. For any thread; allocates. It knows nothing of what
//! else stands in the table.

use std::collections::{BTreeSet, HashMap};

/// The files of one table, by their last component.
#[derive(Default)]
pub(crate) struct FileNames<'a> {
    namesakes: HashMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> FromIterator<&'a str> for FileNames<'a> {
    fn from_iter<I: IntoIterator<Item = &'a str>>(files: I) -> Self {
        let mut names = Self::default();
        for file in files {
            names.namesakes.entry(tail(file, 1)).or_default().insert(file);
        }
        names
    }
}

impl FileNames<'_> {
    /// The last component of the path, and before it as many more as tell the file from the others of the table.
    pub(crate) fn short<'f>(&self, file: &'f str) -> &'f str {
        let Some(namesakes) = self.namesakes.get(tail(file, 1)) else { return tail(file, 1) };
        let is_distinct = |components| {
            let name = tail(file, components);
            name == file || namesakes.iter().filter(|other| tail(other, components) == name).count() <= 1
        };
        // Ends at the latest where the tail is the whole path.
        tail(file, (1..).find(|&components| is_distinct(components)).unwrap_or(1))
    }
}

/// The last `components` components of a path, or all of it when it has no more.
fn tail(path: &str, components: usize) -> &str {
    let start = path.rmatch_indices(['/', '\\']).nth(components - 1).map_or(0, |(at, _)| at + 1);
    &path[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short_names<'a>(files: &[&'a str]) -> Vec<&'a str> {
        let names: FileNames<'_> = files.iter().copied().collect();
        files.iter().map(|file| names.short(file)).collect()
    }

    #[test]
    fn a_file_is_its_last_component() {
        assert_eq!(
            short_names(&["/home/me/app/src/main.rs", "src/pages.rs", "lib.rs", r"C:\app\src\workers.rs"]),
            ["main.rs", "pages.rs", "lib.rs", "workers.rs"]
        );
    }

    #[test]
    fn one_file_in_several_rows_stays_short() {
        assert_eq!(short_names(&["/a/src/main.rs", "/a/src/main.rs"]), ["main.rs", "main.rs"]);
    }

    #[test]
    fn files_of_one_name_take_their_directory() {
        assert_eq!(
            short_names(&["/app/src/cache/mod.rs", "/app/src/pool/mod.rs", "/app/src/main.rs"]),
            ["cache/mod.rs", "pool/mod.rs", "main.rs"]
        );
        assert_eq!(short_names(&[r"C:\a\mod.rs", "b/mod.rs"]), [r"a\mod.rs", "b/mod.rs"]);
    }

    #[test]
    fn files_whose_directories_are_named_alike_too_take_more() {
        assert_eq!(
            short_names(&["/ws/app/src/lib.rs", "/ws/core/src/lib.rs", "/ws/core/tests/lib.rs"]),
            ["app/src/lib.rs", "core/src/lib.rs", "tests/lib.rs"]
        );
    }

    #[test]
    fn a_path_that_is_the_end_of_another_is_shown_whole() {
        assert_eq!(short_names(&["src/lib.rs", "/core/src/lib.rs"]), ["src/lib.rs", "core/src/lib.rs"]);
        assert_eq!(short_names(&["lib.rs", "/lib.rs", ""]), ["lib.rs", "/lib.rs", ""]);
    }

    #[test]
    fn a_file_that_is_not_in_the_table_is_its_last_component() {
        assert_eq!(FileNames::default().short("/app/src/main.rs"), "main.rs");
    }
}
