//! Text in columns. Pure; the widths are those of the widest cells.

use std::fmt;

pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

pub(crate) struct Column {
    name: &'static str,
    align: Align,
}

#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
}

impl Column {
    pub(crate) const fn text(name: &'static str) -> Self {
        Self { name, align: Align::Left }
    }

    pub(crate) const fn number(name: &'static str) -> Self {
        Self { name, align: Align::Right }
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

    fn width(&self, column: usize) -> usize {
        let full = self.rows.iter().filter(|row| row.len() == self.columns.len() || column + 1 < row.len());
        let cells = full.map(|row| row[column].chars().count());
        cells.chain([self.columns[column].name.len()]).max().unwrap_or(0)
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
        self.line(f, &self.columns.iter().map(|column| column.name).collect::<Vec<_>>())?;
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
}
