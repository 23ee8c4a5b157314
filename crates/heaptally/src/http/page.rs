//! The page at `/`: one file, nothing from elsewhere.

/// See the module's head.
pub(super) const PAGE: &str = include_str!("page.html");
