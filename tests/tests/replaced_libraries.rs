//! Names are those of the library that is loaded, not of the file that has taken its path since, nor of the library that lay
//! at its place before.
#![cfg(not(heaptally_portable))]

#[path = "common/plugin.rs"]
mod plugin;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::{env, fs, process};

use heaptally::{Config, Snapshot, TallyAlloc};
use plugin::Plugin;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// A block of so many bytes, the only one alive of its stack: what it was allocated through is found by that.
#[inline(never)]
fn keep(bytes: u64) -> Vec<u8> {
    black_box(Vec::with_capacity(bytes as usize))
}

/// The inner functions of libraries on the stack that the block of so many bytes was allocated on.
fn inner_functions(snapshot: &Snapshot, bytes: u64) -> BTreeSet<String> {
    let sites = snapshot.sites().iter().filter(|site| site.counts().live_bytes() == bytes as i64);
    let frames: Vec<_> = sites.flat_map(|site| site.frames()).collect();
    assert!(!frames.is_empty());
    let names = frames.iter().flat_map(|frame| frame.lines.iter()).map(|line| line.function.to_string());
    names.filter(|name| name.starts_with("inner")).collect()
}

fn through(plugin: &Plugin, bytes: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    plugin.through(&mut || kept = keep(bytes));
    kept
}

#[test]
fn names_are_those_of_what_is_loaded() {
    let file = |name| fs::read(Plugin::path(name).to_str().unwrap()).unwrap();
    let directory = env::temp_dir().join(format!("heaptally-replaced-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("library.so");
    fs::write(&path, file("small")).unwrap();
    let tally = heaptally::start(Config::new().modules(["replaced_libraries"])).unwrap();

    // Built anew while it is loaded, as programs are updated.
    let loaded = Plugin::load_from(&CString::new(path.as_os_str().as_bytes()).unwrap());
    let kept = through(&loaded, 1_000_003);
    let new = directory.join("new.so");
    fs::write(&new, file("small_twin")).unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(inner_functions(&tally.snapshot(), 1_000_003), BTreeSet::new());
    drop(kept);
    // Stays, so that nothing else is at its place.
    std::mem::forget(loaded);
    fs::remove_dir_all(&directory).unwrap();

    // One after the other, at one place.
    let mut places = [BTreeSet::new(), BTreeSet::new()];
    for load in 0..20 {
        let (which, bytes) = (load % 2, 2_000_003 + load as u64);
        let plugin = Plugin::load(["small", "small_twin"][which]);
        places[which].insert(plugin.address());
        let kept = through(&plugin, bytes);
        let expected = ["inner", "inner_of_twin"][which].to_owned();
        assert_eq!(inner_functions(&tally.snapshot(), bytes), BTreeSet::from([expected]), "load {load}");
        drop(kept);
    }
    assert!(!places[0].is_disjoint(&places[1]), "never at the same place: {places:x?}");
}
