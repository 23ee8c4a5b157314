//! Decides which function of a stack its memory is charged to.
//!
//! A pure function of names and frames: no addresses, no clock, no symbols looked up. Called by the
//! aggregator when it merges stacks, once for each frame; the filter itself is built wherever `start` or
//! `set_modules` is called.
//!
//! The owner of a stack is its innermost line, inlined lines included, that belongs to a configured
//! module, or, with none configured, to a crate outside the standard library and this one.

use std::sync::Arc;

use super::function_path::{Path, Role, homes};
use crate::ModuleError;
use crate::module_name::normalize;

mod ownership;

pub(crate) use ownership::{FrameRole, Module, Ownership, owner};

/// Crates that serve the program and never own memory: the standard library with what it contains,
/// the crate that unwinds, and this one. `hashbrown` is the standard library's `HashMap`; `__rustc`
/// is what the compiler generates.
const RUNTIME_CRATES: &[&str] = &[
    "__rustc",
    "alloc",
    "backtrace",
    "compiler_builtins",
    "core",
    "hashbrown",
    "heaptally",
    "heaptally_capture",
    "heaptally_profile",
    "panic_abort",
    "panic_unwind",
    "proc_macro",
    "std",
    "std_detect",
    "test",
    "unwind",
];

/// The modules that the user calls his own.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModuleFilter {
    /// Normalised: hyphens are underscores, no leading `::`, no `r#`.
    names: Vec<Arc<str>>,
}

impl ModuleFilter {
    /// Builds a filter from module names such as `app` or `app::db`. No name means that every
    /// crate outside the standard library belongs.
    ///
    /// # Errors
    ///
    /// The first name that cannot be the path of a module.
    pub(crate) fn new(names: &[impl AsRef<str>]) -> Result<Self, ModuleError> {
        let names = names.iter().map(|name| normalize(name.as_ref()).map(Arc::from)).collect::<Result<_, _>>()?;
        Ok(Self { names })
    }

    /// The configured modules, normalised, in the order given.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The module that a function belongs to. Of several that fit, the longest; the first of
    /// equals. The type of `<T as Trait>::f` goes before the trait. Generic arguments never match.
    pub(crate) fn belongs(&self, function: &str) -> Option<Module> {
        if is_allocator(function) {
            return None;
        }
        if self.names.is_empty() {
            return own_crate(function).map(|name| Module::Crate(name.into()));
        }
        homes(function).find_map(|path| self.module_around(path))
    }

    fn module_around(&self, path: Path<'_>) -> Option<Module> {
        let mut best: Option<usize> = None;
        for (index, name) in self.names.iter().enumerate() {
            let longer = best.is_none_or(|best| name.len() > self.names[best].len());
            if longer && path.is_inside(name.split("::")) {
                best = Some(index);
            }
        }
        best.map(Module::Configured)
    }
}

/// The crate that a function lives in: of the type and the trait of `<T as Trait>::f` the one
/// outside the standard library. `None` for names without a path, such as C functions.
pub(crate) fn crate_of(function: &str) -> Option<&str> {
    own_crate(function).or_else(|| {
        homes(function)
            .find_map(Path::crate_name)
            // Methods of slices and numbers, as v0 mangling prints them: `<[i32]>::sort`.
            .or_else(|| function.starts_with('<').then_some("core"))
    })
}

/// The crate outside the standard library that a function lives in.
fn own_crate(function: &str) -> Option<&str> {
    homes(function).filter_map(Path::crate_name).find(|name| !is_runtime(name))
}

fn is_runtime(crate_name: &str) -> bool {
    RUNTIME_CRATES.contains(&crate_name)
}

/// Whether the function is how memory is asked for rather than who asks: `__rust_alloc`, and the
/// methods of a user's `GlobalAlloc` around ours, which would own every block.
fn is_allocator(function: &str) -> bool {
    homes(function).any(|path| {
        let mut segments = path.segments();
        match path.role() {
            Role::Function => segments.last().is_some_and(|last| last.starts_with("__rust_")),
            Role::SelfType => false,
            Role::Trait => {
                segments.next() == Some("core")
                    && segments.next() == Some("alloc")
                    && segments.last() == Some("GlobalAlloc")
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Module::{Configured, Crate};

    fn filter(names: &[&str]) -> ModuleFilter {
        ModuleFilter::new(names).unwrap()
    }

    /// Functions from compiled programs; who owns them with the modules `app` and `app::db`
    /// configured, and with none.
    #[rustfmt::skip]
    const FUNCTIONS: &[(&str, Option<usize>, Option<&str>)] = &[
        ("app::main", Some(0), Some("app")),
        ("app::main::{{closure}}", Some(0), Some("app")),
        ("app::outer::{closure#0}", Some(0), Some("app")),
        ("app::Cache<T>::insert", Some(0), Some("app")),
        ("<app::Cache<u8>>::insert_as::<core::option::Option<&str>>", Some(0), Some("app")),
        ("<app::Cache<T> as core::fmt::Debug>::fmt", Some(0), Some("app")),
        ("<&app::S as app_utils::Tr<app::S>>::go", Some(0), Some("app")),
        ("<&dyn app::Local + core::marker::Send as core::fmt::Display>::fmt", Some(0), Some("app")),
        ("<T as app::Local>::local", Some(0), Some("app")),
        ("<u32 as app::Local>::local", Some(0), Some("app")),
        ("<alloc::vec::Vec<u8> as app::Local>::local", Some(0), Some("app")),
        ("app::<impl app_utils::Tr<app::S> for alloc::vec::Vec<app::S>>::go", Some(0), Some("app")),
        ("app::_::<impl core::default::Default for app::S>::default", Some(0), Some("app")),
        ("<app::It as core::iter::traits::iterator::Iterator>::collect::<alloc::vec::Vec<u8>>", Some(0), Some("app")),
        ("app::db::open", Some(1), Some("app")),
        ("<app::db::Pool<T>>::get", Some(1), Some("app")),
        ("<app::S as app::db::Store>::put", Some(0), Some("app")),
        ("app::dbx::open", Some(0), Some("app")),
        ("app_utils::probe", None, Some("app_utils")),
        ("<app_utils::S>::probe", None, Some("app_utils")),
        ("other::app::run", None, Some("other")),
        ("<alloc::vec::Vec<app::S> as app_utils::Tr<app::S>>::go", None, Some("app_utils")),
        ("<[u8] as app_utils::Tr<app::S>>::go", None, Some("app_utils")),
        ("<alloc::vec::Vec<app::S>>::push", None, None),
        ("alloc::vec::Vec<T,A>::push", None, None),
        ("<alloc::vec::Vec<app::S> as core::ops::drop::Drop>::drop", None, None),
        ("core::ptr::drop_in_place<app::S>", None, None),
        ("core::ptr::drop_in_place::<app::S>", None, None),
        ("<tokio::runtime::task::core::Core<app::serve::{closure#0}>>::poll", None, Some("tokio")),
        ("tokio::runtime::task::core::Core<T,S>::poll", None, Some("tokio")),
        ("<hashbrown::raw::RawTable<(u32, app::S)>>::reserve_rehash::<app::hash>", None, None),
        ("std::rt::lang_start::{{closure}}", None, None),
        ("std::rt::lang_start::<()>::{closure#0}", None, None),
        ("std::sys::backtrace::__rust_begin_short_backtrace::<fn(), ()>", None, None),
        ("<fn() as core::ops::function::FnOnce<()>>::call_once", None, None),
        ("<[i32]>::sort_by_key::<i32, app::main::{closure#6}>", None, None),
        ("heaptally::allocator::TallyAlloc<A>::alloc", None, None),
        ("heaptally_capture::ring::push", None, None),
        ("__rustc::__rust_alloc", None, None),
        ("app::_::__rust_alloc", None, None),
        ("<app::Oracle<A> as core::alloc::global::GlobalAlloc>::alloc", None, None),
        ("app", None, None),
        ("main", None, None),
        ("c_entry", None, None),
        ("__libc_start_main_impl", None, None),
        ("_start", None, None),
        ("", None, None),
    ];

    #[test]
    fn functions_belong_to_the_module_of_their_path() {
        let (modules, none) = (filter(&["app", "app::db"]), filter(&[]));
        for (function, index, crate_name) in FUNCTIONS {
            assert_eq!(modules.belongs(function), index.map(Configured), "{function}");
            assert_eq!(none.belongs(function), crate_name.map(|name| Crate(name.into())), "{function}");
        }
    }

    #[test]
    fn the_longest_module_goes_first_whatever_the_order() {
        assert_eq!(filter(&["app::db", "app"]).belongs("app::db::open"), Some(Configured(0)));
        assert_eq!(filter(&["app", "app"]).belongs("app::run"), Some(Configured(0)));
    }

    #[test]
    fn a_standard_crate_can_be_configured() {
        assert_eq!(filter(&["alloc::vec"]).belongs("alloc::vec::Vec<T,A>::push"), Some(Configured(0)));
    }

    #[test]
    fn names_are_normalised() {
        let filter = filter(&["my-app", "::my_app::r#mod", " app::db ", "größe"]);
        let names: Vec<&str> = filter.names().iter().map(|name| &**name).collect();
        assert_eq!(names, ["my_app", "my_app::mod", "app::db", "größe"]);
    }

    #[test]
    fn malformed_names_are_refused_with_what_to_do() {
        for name in ["", "  "] {
            assert_eq!(ModuleFilter::new(&[name]).unwrap_err(), ModuleError::Empty);
        }
        for name in [
            "app::",
            "::",
            "a b",
            "<T>",
            "app:db",
            "app.db",
            "app::::db",
            "1app",
            "crate::db",
            "self",
            "_",
            "app/db",
            "r#",
        ] {
            let error = ModuleFilter::new(&["app", name]).unwrap_err();
            assert_eq!(error, ModuleError::Malformed { name: name.into() });
            let expected = format!(
                "`{name}` is not the path of a module; write the crate's name and modules separated by `::`, \
                 such as `app` or `app::db`"
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn crates_are_named_for_functions_with_a_path() {
        assert_eq!(crate_of("tokio::spawn"), Some("tokio"));
        assert_eq!(crate_of("<bytes::Bytes as core::clone::Clone>::clone"), Some("bytes"));
        assert_eq!(crate_of("<alloc::vec::Vec<T> as bytes::Buf>::get"), Some("bytes"));
        assert_eq!(crate_of("<alloc::vec::Vec<T>>::push"), Some("alloc"));
        assert_eq!(crate_of("<[i32]>::sort"), Some("core"));
        assert_eq!(crate_of("malloc"), None);
    }
}
