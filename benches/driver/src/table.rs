//! Text in columns. Pure; the widths are those of the widest cells.

use std::fmt;

pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

pub(crate) struct Column {
    name: String,
    align: Align,
}

#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
}

impl Column {
    pub(crate) fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), align: Align::Left }
    }

    pub(crate) fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), align: Align::Right }
    }
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// A row with fewer cells than columns ends in free text, which no column's width follows.
    pub(crate) fn push(&mut self, row: impl Into<Vec<String>>) {
        self.rows.push(row.into());
    }

    /// The same as a table of Markdown. Every row is full.
    pub(crate) fn markdown(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let rules: Vec<_> = self
            .columns
            .iter()
            .enumerate()
            .map(|(number, column)| match column.align {
                Align::Left => "-".repeat(self.width(number)),
                Align::Right => "-".repeat(self.width(number) - 1) + ":",
            })
            .collect();
        let rows = self.rows.iter().map(|row| row.iter().map(String::as_str).collect());
        let lines = [names, rules.iter().map(String::as_str).collect()].into_iter().chain(rows);
        lines.map(|cells: Vec<&str>| format!("| {} |\n", self.padded(&cells).join(" | "))).collect()
    }

    fn padded(&self, cells: &[&str]) -> Vec<String> {
        let padded = |(number, cell): (usize, &&str)| {
            let width = self.width(number);
            match self.columns[number].align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            }
        };
        cells.iter().enumerate().map(padded).collect()
    }

    fn width(&self, column: usize) -> usize {
        let full = self.rows.iter().filter(|row| row.len() == self.columns.len() || column + 1 < row.len());
        let cells = full.map(|row| row[column].chars().count());
        cells.chain([self.columns[column].name.chars().count()]).max().unwrap_or(0)
    }

    fn line(&self, f: &mut fmt::Formatter<'_>, cells: &[&str]) -> fmt::Result {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let free = cells.len() < self.columns.len() && column + 1 == cells.len();
            let width = if free { 0 } else { self.width(column) };
            let gap = if column == 0 { "" } else { "  " };
            line += &match self.columns[column].align {
                Align::Left => format!("{gap}{cell:<width$}"),
                Align::Right => format!("{gap}{cell:>width$}"),
            };
        }
        writeln!(f, "{}", line.trim_end())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line(f, &self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>())?;
        self.rows.iter().try_for_each(|row| self.line(f, &row.iter().map(String::as_str).collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_free_text_is_free() {
        let mut table = Table::new([Column::text("subject"), Column::number("ns"), Column::number("ratio")]);
        table.push(["system", "14.9", "1.00"].map(str::to_owned));
        table.push(["heaptally", "1,234", "82.8"].map(str::to_owned));
        table.push(["peer", "did not build: error: no such crate"].map(str::to_owned));
        let expected = "\
subject       ns  ratio
system      14.9   1.00
heaptally  1,234   82.8
peer       did not build: error: no such crate
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn markdown_is_in_columns_as_well() {
        let mut table = Table::new([Column::text("block"), Column::number("ns")]);
        table.push(["256 B → 1", "1,234"].map(str::to_owned));
        table.push(["4 KiB", "9"].map(str::to_owned));
        let expected = "\
| block     |    ns |
| --------- | ----: |
| 256 B → 1 | 1,234 |
| 4 KiB     |     9 |
";
        assert_eq!(table.markdown(), expected);
    }
}
