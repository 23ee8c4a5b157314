//! Plain text in aligned columns: numbers to the right, the name of the row in the last column as
//! long as it is.

use std::fmt;

use crate::file_names::FileNames;
use crate::site::Location;
use crate::units::Plural;

/// How many rows a table shows unless all are asked for.
const SHORT_ROWS: usize = 20;

/// A table of `N` right-aligned columns and a last one for the name of the row.
pub(crate) struct Table<const N: usize> {
    header: [&'static str; N],
    name_header: &'static str,
    rows: Vec<([String; N], String)>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(header: [&'static str; N], name_header: &'static str) -> Self {
        Self { header, name_header, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, cells: [String; N], name: impl Into<String>) {
        self.rows.push((cells, name.into()));
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = self.header.map(str::len);
        for (cells, _) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.len());
            }
        }
        let mut line = |cells: [&str; N], name: &str| {
            for (cell, width) in cells.into_iter().zip(widths) {
                write!(f, "{cell:>width$}  ")?;
            }
            writeln!(f, "{name}")
        };
        line(self.header, self.name_header)?;
        self.rows.iter().try_for_each(|(cells, name)| line(cells.each_ref().map(String::as_str), name))
    }
}

/// How many of `rows` to show: all for `{:#}`, otherwise the first ones.
pub(crate) fn shown(rows: usize, f: &fmt::Formatter<'_>) -> usize {
    if f.alternate() { rows } else { rows.min(SHORT_ROWS) }
}

/// The last column: the function, and its place in parentheses, the file as `names` shortens it.
pub(crate) fn function_cell(function: &str, location: Option<&Location>, names: &FileNames<'_>) -> String {
    match location {
        Some(location) => format!("{function} ({})", place_cell(location, names)),
        None => function.to_owned(),
    }
}

/// A place, the file as `names` shortens it.
pub(crate) fn place_cell(location: &Location, names: &FileNames<'_>) -> String {
    Location { file: names.short(&location.file).into(), line: location.line }.to_string()
}

/// The last column of the line that adds up the rows that are not shown; `noun` is what a row is.
pub(crate) fn more_cell(hidden: usize, noun: &str) -> String {
    format!("… and {}", Plural(hidden as u64, &format!("more {noun}")))
}

/// The last column of the line that adds up the rows whose live numbers did not change.
pub(crate) fn unchanged_cell(unchanged: usize, noun: &str) -> String {
    let they = if unchanged == 1 { "it" } else { "they" };
    format!("… and {} that freed what {they} allocated", Plural(unchanged as u64, noun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_add_up_agree_with_their_number() {
        assert_eq!(
            (more_cell(1, "function"), more_cell(1200, "function")),
            ("… and 1 more function".into(), "… and 1,200 more functions".into())
        );
        assert_eq!(unchanged_cell(1, "function"), "… and 1 function that freed what it allocated");
        assert_eq!(unchanged_cell(2, "stack"), "… and 2 stacks that freed what they allocated");
    }

    #[test]
    fn a_place_without_a_line_is_the_file() {
        let location = Location { file: "/app/src/main.rs".into(), line: None };
        assert_eq!(function_cell("app::f", Some(&location), &FileNames::default()), "app::f (main.rs)");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["n", "bytes"], "function");
        table.push(["1".into(), "10 B".into()], "a");
        table.push(["1,000".into(), "1023.9 KiB".into()], "a::very::long::function::name::that::is::not::cut");
        assert_eq!(
            table.to_string(),
            "    n       bytes  function\n    1        10 B  a\n1,000  1023.9 KiB  \
             a::very::long::function::name::that::is::not::cut\n"
        );
    }
}
