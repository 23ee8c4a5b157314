//! The files that workloads read: real ones, which every checkout of the lock file has.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::layout::Layout;
use crate::number;
use crate::options::Extent;
use crate::process;
use crate::workload::{Input, Workload};

/// Larger files are left out: nearly all are bindings to an operating system made by a program, which would be more
/// than half of the text.
const LARGEST_SOURCE_BYTES: u64 = 64 * 1024;

/// One file of so many, in the order of their paths: about 500 files with 300,000 distinct stacks. All of them have more
/// than the million that heaptally tells apart by default.
const SOURCES_STRIDE: usize = 8;

/// With `--quick`: 70 files with which a lap takes an eighth of the time. Numbers of one do not compare with those of the
/// other.
const QUICK_SOURCES_STRIDE: usize = 64;

/// Below these the workloads are not what they stand for.
const LEAST_DOCUMENT_BYTES: usize = 50_000;
const LEAST_SOURCES: usize = 2400;

#[derive(Default)]
pub(crate) struct Inputs {
    metadata: Option<PathBuf>,
    sources: Option<PathBuf>,
    /// What was found, a line each.
    pub(crate) notes: Vec<String>,
}

impl Inputs {
    /// Writes what the workloads need into the target folder.
    pub(crate) fn prepare(workloads: &[&Workload], extent: Extent, layout: &Layout) -> Result<Self, String> {
        let needs = |input| workloads.iter().any(|workload| workload.input == input);
        let mut inputs = Self::default();
        if !needs(Input::Metadata) && !needs(Input::Sources) {
            return Ok(inputs);
        }
        let document = process::output(layout.cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
        if needs(Input::Metadata) {
            at_least(LEAST_DOCUMENT_BYTES, document.len(), "bytes of cargo metadata")?;
            inputs.notes.push(format!("json: {} bytes of cargo metadata", number::whole(document.len() as u64)));
            inputs.metadata = Some(write(layout, "metadata.json", &document)?);
        }
        if needs(Input::Sources) {
            let all = sources(&document)?;
            at_least(LEAST_SOURCES, all.len(), "source files")?;
            let stride = if extent == Extent::Quick { QUICK_SOURCES_STRIDE } else { SOURCES_STRIDE };
            let list: Vec<String> = all.iter().step_by(stride).map(|path| path.display().to_string()).collect();
            inputs.notes.push(format!(
                "syn: {} of {} files of at most {} KiB, of the crates in Cargo.lock",
                list.len(),
                all.len(),
                LARGEST_SOURCE_BYTES / 1024
            ));
            inputs.sources = Some(write(layout, "sources.txt", &list.join("\n"))?);
        }
        Ok(inputs)
    }

    pub(crate) fn path(&self, input: Input) -> Option<&Path> {
        match input {
            Input::None => None,
            Input::Metadata => self.metadata.as_deref(),
            Input::Sources => self.sources.as_deref(),
        }
    }
}

fn at_least(least: usize, found: usize, what: &str) -> Result<(), String> {
    if found < least { Err(format!("only {found} {what}, {least} are needed")) } else { Ok(()) }
}

fn write(layout: &Layout, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = layout.target.join(name);
    fs::create_dir_all(&layout.target)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// The source files of the crates that come from a registry, sorted, so that every run has the same.
fn sources(metadata: &str) -> Result<Vec<PathBuf>, String> {
    let metadata: Value = serde_json::from_str(metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata has no packages")?;
    let mut files = Vec::new();
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let manifest = package["manifest_path"].as_str().map(Path::new);
        let folder = manifest.and_then(Path::parent).ok_or("a package without a manifest")?;
        collect(folder, &mut files).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            collect(&path, files)?;
        } else if path.extension() == Some(OsStr::new("rs")) && entry.metadata()?.len() <= LARGEST_SOURCE_BYTES {
            files.push(path);
        }
    }
    Ok(())
}
