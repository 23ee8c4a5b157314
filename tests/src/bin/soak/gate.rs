//! The gate that the service's threads pass at each step: shut, nobody is between two of its steps' operations.
//!
//! And the first failure that any of them has found, for the main thread to end the process with.

use std::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

static GATE: RwLock<()> = RwLock::new(());
static FAILURE: Mutex<Option<String>> = Mutex::new(None);

/// Holds the gate open for one step; waits while it is shut.
pub(crate) fn pass() -> RwLockReadGuard<'static, ()> {
    GATE.read().expect("nobody panics while it is shut")
}

/// Shuts the gate, once everybody has finished the step that he is in.
pub(crate) fn shut() -> RwLockWriteGuard<'static, ()> {
    GATE.write().expect("nobody panics while it is shut")
}

/// Keeps the first failure.
pub(crate) fn fail(failure: String) {
    FAILURE.lock().expect("no code that panics").get_or_insert(failure);
}

/// What has failed, if anything has.
pub(crate) fn failure() -> Option<String> {
    FAILURE.lock().expect("no code that panics").clone()
}
