//! The planted leak: what the service remembers of each user, for ever.

use std::collections::HashMap;
use std::sync::Mutex;

/// What one session holds, in one block.
pub(crate) const SESSION_BYTES: usize = 1024;

/// The sessions of all users. Nothing is ever removed.
#[derive(Default)]
pub(crate) struct SessionCache {
    by_user: Mutex<HashMap<u32, Box<[u8]>>>,
}

impl SessionCache {
    /// Opens a session and keeps it. The growth of the map is charged to this function, the session to [`open`].
    pub(crate) fn remember(&self, user: u32) {
        let session = open();
        self.by_user.lock().expect("no thread panics while it holds the sessions").insert(user, session);
    }
}

/// A new session: the function that heaptally must name. The optimizer inlines it; the debug info that `debug = 1` in
/// the release profile keeps brings its name back.
fn open() -> Box<[u8]> {
    vec![0; SESSION_BYTES].into_boxed_slice()
}
