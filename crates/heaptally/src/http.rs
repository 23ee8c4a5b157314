//! The heap over HTTP: the paths that users of Go's and jemalloc's profiles know, and a page that shows it live.
//!
//! [`serve`] answers on a port of its own; [`respond`] is the same as a function, for a server that the program has
//! already. Neither is ever called from the allocator, and no request can hold one up: what is shown are snapshots, which
//! pause nobody.
//!
//! | path | what it answers |
//! | --- | --- |
//! | `/` | a page: the functions with most live bytes, renewed every two seconds, and their growth since it was opened |
//! | `/debug/pprof/heap` | the heap by call stack, for `go tool pprof` and its like (gzipped protobuf) |
//! | `/debug/pprof/allocs` | the same, showing allocated instead of live bytes first |
//! | … `?seconds=N` | what changed in the next `N` seconds, 1 to 3,600 |
//! | `/flamegraph.svg` | a flame graph; `?value=` `live_bytes`, `live_blocks`, `allocated_bytes` or `allocated_blocks` |
//! | `/metrics` | for Prometheus; `?top=N` functions, 0 to 1,000, 20 by default |
//! | `/snapshot.json` | everything a snapshot holds |
//! | `/top.json` | what the page shows: `?top=N` functions |
//! | `/suspects`, `/peak` | text: functions that may leak; the highest that the heap was, and who held it |
//!
//! A path that is none of these is answered by 404, a bad parameter by 400 and a sentence.

mod page;
mod query;
mod respond;
mod server;
mod top;

pub use respond::{Response, respond};
pub use server::{ServeError, Server, serve, serve_publicly};
