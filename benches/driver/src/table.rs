//! A table of Markdown, in columns as wide as their widest cells, so that it reads as plain text too. Pure.

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

    /// A cell for each column.
    pub(crate) fn push(&mut self, row: impl Into<Vec<String>>) {
        self.rows.push(row.into());
    }

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
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.chain([self.columns[column].name.chars().count()]).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
