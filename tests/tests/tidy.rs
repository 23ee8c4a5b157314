//! What the pages and the files promise each other: looked up in the sources, so that no page rots.
//!
//! Reads the checkout that it was built from; knows nothing of the program's behaviour.

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a package of the workspace")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files with this extension below the workspace's sources and pages, with their text. Build outputs lie elsewhere.
fn files(extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["crates", "tests", "benches", "docs"].map(|name| root().join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("target") | None => {}
                _ if path.is_dir() => folders.push(path),
                _ if path.extension().is_some_and(|own| own == extension) => found.push(path),
                _ => {}
            }
        }
    }
    if extension == "md" {
        found.push(root().join("README.md"));
    }
    found.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// The sources that are part of a crate, by their path from its `src`.
fn sources() -> impl Iterator<Item = (String, String)> {
    files("rs").into_iter().filter_map(|(path, text)| {
        let inside = path.strip_prefix(root().join("crates")).ok()?;
        let mut parts = inside.iter().skip(1);
        (parts.next()? == "src").then(|| (parts.collect::<PathBuf>().to_string_lossy().into_owned(), text))
    })
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let files = [files("rs"), files("md")].concat();
    assert!(files.len() > 100, "{} files", files.len());
    for (path, text) in files {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE_LINES, "{} has {lines} lines: look for its second noun", path.display());
    }
}

#[test]
fn no_relative_link_is_broken() {
    let mut links = 0;
    for (path, text) in files("md") {
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let file = path.parent().expect("a file has a folder").join(target);
            assert!(file.exists(), "{}: the link to {target} is broken", path.display());
        }
    }
    assert!(links >= 5, "{links} links");
}

#[test]
fn the_page_on_memory_ordering_has_every_atomic() {
    let page = read(&root().join("docs/memory-ordering.md"));
    let shipped = |text: &str| text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    let atomics: Vec<String> = sources().flat_map(|(_, text)| atomics_of(&shipped(&text))).collect();
    assert!(atomics.len() >= 50, "{atomics:?}");
    let missing: Vec<_> = atomics.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/memory-ordering.md: {missing:?}");
}

/// `Type::field` of every atomic field, `Type` of every tuple struct around one, and `NAME` of every atomic static.
fn atomics_of(text: &str) -> Vec<String> {
    let mut of_struct = "";
    let mut names = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        let item = line.strip_prefix("pub").map_or(line, |rest| rest.trim_start_matches("(crate)").trim_start());
        if let Some(rest) = item.strip_prefix("struct ") {
            of_struct = name_in(rest);
            if rest.contains("(Atomic") {
                names.push(of_struct.to_owned());
            }
            continue;
        }
        let is_static = item.strip_prefix("static ");
        let Some((name, kind)) = is_static.unwrap_or(item).split_once(": ") else { continue };
        let kind = kind.split(" = ").next().unwrap_or_default();
        // A reference is somebody else's atomic, a call makes the value of a field; and only items and fields begin with
        // nothing but their name.
        if !kind.contains("Atomic") || kind.contains("::new(") || kind.starts_with('&') || name_in(name) != name {
            continue;
        }
        match is_static {
            Some(_) => names.push(name.to_owned()),
            None if line.ends_with(',') => names.push(format!("{of_struct}::{name}")),
            None => {}
        }
    }
    // Padding.
    names.retain(|name| !name.contains("::_"));
    names
}

/// The identifier that a text begins with.
fn name_in(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[test]
fn the_map_has_every_file() {
    let page = read(&root().join("docs/architecture.md"));
    let files = sources().map(|(file, _)| file.strip_prefix("engine/").unwrap_or(&file).to_owned());
    let is_title = |file: &String| file == "lib.rs" || file.ends_with("mod.rs");
    let missing: Vec<_> = files.filter(|file| !is_title(file) && !page.contains(&format!("`{file}`"))).collect();
    assert!(missing.is_empty(), "not in docs/architecture.md: {missing:?}");
}

#[test]
fn unsafe_code_is_where_the_map_says() {
    let page = read(&root().join("docs/architecture.md"));
    let begin = page.find("`unsafe` is denied").expect("the list of files with unsafe code");
    let list = page[begin..].split("\n\n").next().unwrap_or_default();
    // Those of the hot crate are all allowed to.
    let allowed: Vec<String> =
        sources().filter(|(_, text)| text.contains("allow(unsafe_code")).map(|(file, _)| file).collect();
    for file in &allowed {
        assert!(list.contains(&format!("`{file}`")), "{file} is not in the list of docs/architecture.md");
    }
    assert_eq!(list.matches(".rs`").count(), allowed.len(), "{allowed:?} are what needs unsafe code");
}
