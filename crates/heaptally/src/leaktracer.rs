//! The names of the crate `leaktracer` 0.1.6, over heaptally: programs written for it compile with one line changed
//! in each file that imports it.
//!
//! ```
//! use heaptally::leaktracer::{self, LeaktracerAllocator};
//!
//! #[global_allocator]
//! static ALLOCATOR: LeaktracerAllocator = LeaktracerAllocator::init();
//!
//! # fn main() {
//! leaktracer::init_symbol_table(&["my_app"]);
//! leaktracer::with_symbol_table(|table| {
//!     for (name, symbol) in table.iter() {
//!         println!("{name}: {} bytes in {} blocks", symbol.allocated(), symbol.count());
//!     }
//! })
//! .expect("never an error");
//! println!("{} bytes in all", ALLOCATOR.allocated());
//! # }
//! ```
//!
//! [`init_symbol_table`] is [`start`](crate::start) with these modules, [`with_symbol_table`] takes a
//! [`snapshot`](fn@crate::snapshot), so everything else in this crate may be used beside them.
//!
//! # What differs
//!
//! - *Every allocation is counted*: of every thread, inside `with_symbol_table` too, `realloc` and `alloc_zeroed` as
//!   what they are. Optimized builds are what it is made for.
//! - *`allocated` is exact from the first allocation of the process.* A block from before `init_symbol_table` counts
//!   when it is freed, as any other. Nothing saturates.
//! - *A module matches by whole segments*: `my_app` is not `my_app_utils`, and `<my_app::T as Trait>::f` is in
//!   `my_app`. So `my_app::` and `<my_app` mean `my_app` here. A name that no module can have is left out, which is
//!   said on the standard error stream. Without modules every function outside the standard library has a row.
//! - *The innermost function of the modules is charged, inlined ones included* (`debug = 1` in the profile). Its name is
//!   the whole path without hash, in both manglings.
//! - *The row `<unknown>` has the rest of the program*: what was allocated before `init_symbol_table`, and stacks
//!   without a function of the modules. The rows add up to `allocated`. heaptally's own heap is in neither.
//! - *No panic and no lock.* Before `init_symbol_table`, or when tracking could not start, the table has no row but
//!   `<unknown>`; why it could not is said on the standard error stream. `with_symbol_table` is never an error, holds
//!   nothing while the closure runs, may be nested, and blocks while new stacks are symbolized, as `snapshot` does.
//! - *The table is a copy* that does not change while the closure looks at it.
//! - *Names are kept for ever, one copy per function*: they are `&'static str` there. That is at most one for each
//!   function of the modules that was seen in a table, however often it is asked for; threads that see a new function
//!   at the same instant may keep a copy each.

mod allocator;
mod names;
mod table;

use std::error::Error;
use std::io::{self, Write};
use std::sync::{MutexGuard, PoisonError};

pub use allocator::LeaktracerAllocator;
pub use table::{Symbol, SymbolTable};

use crate::module_name::normalize;
use crate::{Config, StartError, engine};

/// Starts charging allocations to the functions of these modules. The first call counts; so does a
/// [`start`](crate::start) before it, whose modules then stay.
pub fn init_symbol_table(modules: &'static [&'static str]) {
    let config = modules.iter().fold(Config::new(), |config, name| {
        // What made up for matching by the beginning of the name.
        match normalize(name.trim_start_matches('<').trim_end_matches("::")) {
            Ok(module) => config.modules([module]),
            Err(error) => {
                tell(&error);
                config
            }
        }
    });
    match crate::start(config) {
        Ok(_) | Err(StartError::AlreadyRunning) => {}
        Err(error) => tell(&error),
    }
}

/// Calls `f` with the live heap by function, as it is now, and returns what `f` returns.
///
/// # Errors
///
/// Never: there is no lock that could be poisoned. The type is that of the crate `leaktracer`.
pub fn with_symbol_table<F, R>(f: F) -> Result<R, PoisonError<MutexGuard<'static, SymbolTable>>>
where
    F: FnOnce(&SymbolTable) -> R,
{
    let table = engine::internal(|| SymbolTable::of(&crate::snapshot()));
    Ok(f(&table))
}

/// The one thing that heaptally prints by itself: the signature has no room for an error.
fn tell(error: &dyn Error) {
    // A closed stream is no reason to panic.
    _ = writeln!(io::stderr(), "heaptally: {error}");
}
