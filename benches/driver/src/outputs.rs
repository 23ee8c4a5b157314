//! The files that are written of a record, if the command line names them.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::plots;
use crate::record::Record;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outputs {
    pub(crate) json: Option<PathBuf>,
    /// A folder.
    pub(crate) svg: Option<PathBuf>,
}

impl Outputs {
    /// Finds out early what would lose a long run at its end. A file that is there keeps its content.
    ///
    /// # Errors
    ///
    /// One line, if something cannot be written.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(file) = &self.json {
            let opened = OpenOptions::new().append(true).create(true).open(file);
            opened.map_err(|error| format!("--json: {}: {error}", file.display()))?;
        }
        if let Some(folder) = &self.svg {
            fs::create_dir_all(folder).map_err(|error| format!("--svg: {}: {error}", folder.display()))?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// One line, if something could not be written.
    pub(crate) fn write(&self, record: &Record) -> Result<(), String> {
        if let Some(file) = &self.json {
            write(file, &record.json())?;
        }
        if let Some(folder) = &self.svg {
            let plots = plots::all(record);
            if plots.is_empty() {
                eprintln!("no plots: `system` has no numbers, so there are no ratios to it");
            }
            for plot in plots {
                write(&folder.join(format!("{}.svg", plot.name)), &plot.svg)?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_told_before_anything_is_measured() {
        let complaint = |outputs: Outputs| outputs.check().unwrap_err();
        let json = complaint(Outputs { json: Some("/no/such/folder/a.json".into()), svg: None });
        assert!(json.starts_with("--json: /no/such/folder/a.json: No such file"), "{json}");
        let svg = complaint(Outputs { json: None, svg: Some("/dev/null/plots".into()) });
        assert!(svg.starts_with("--svg: /dev/null/plots: "), "{svg}");
    }
}
