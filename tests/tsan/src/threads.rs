//! Threads of std whose beginning and end are all that std does.
//!
//! std hands its own objects over with fences, and ThreadSanitizer sees no fence: it would take the end of such an object for a
//! race. So they never end.

use std::thread::{self, JoinHandle};

/// See the module's head.
pub(crate) struct Running<T>(JoinHandle<T>);

/// Runs `body` on a thread of its own.
pub(crate) fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let handle = thread::spawn(body);
    std::mem::forget(handle.thread().clone());
    Running(handle)
}

impl<T> Running<T> {
    /// Waits for its end.
    pub(crate) fn join(self) -> T {
        self.0.join().expect("no panic")
    }
}
