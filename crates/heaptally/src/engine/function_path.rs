//! Reads demangled function names: which paths say where a function lives.
//!
//! Pure functions over `&str` that allocate nothing and never fail; a name that makes no sense gives
//! paths that match nothing. Called by the module filter and the symbolizer on the aggregator
//! thread. Knows no configured module and no crate.
//!
//! Both manglings occur in one program, because the standard library is built with the newer one:
//! legacy prints `app::Cache<T>::insert`, v0 prints `<app::Cache<u32>>::insert::<u8>`. Generic
//! arguments say who asked for an instance, not where the function lives, and are left out.

use brackets::{closing, find_outside};

use crate::module_name::is_identifier;

mod brackets;

/// How many paths of one name are looked at. Deeper nesting of `<<A as B>::C as D>` is ignored.
const MAX_HOMES: usize = 6;

/// One path of a function name, such as `app::db::open` or the type `app::Cache<u32>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    text: &'a str,
    role: Role,
}

/// What the last segment of a [`Path`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The function itself: `app::db::open`.
    Function,
    /// A type that the function is a method of: the `T` of `<T as Trait>::f`.
    SelfType,
    /// A trait whose method the function is.
    Trait,
}

impl<'a> Path<'a> {
    /// What the path names.
    pub(crate) fn role(self) -> Role {
        self.role
    }

    /// The segments without generic arguments. `<impl Trait for Type>` is one segment.
    pub(crate) fn segments(self) -> Segments<'a> {
        Segments { rest: Some(self.text) }
    }

    /// The crate, for a path of at least two segments: `app` is also what a C function or a
    /// generic parameter could be called.
    pub(crate) fn crate_name(self) -> Option<&'a str> {
        let mut segments = self.segments();
        let first = segments.next().filter(|segment| is_identifier(segment))?;
        segments.next().map(|_| first)
    }

    /// Whether the path begins with the given segments and names something inside of them.
    pub(crate) fn is_inside<'m>(self, module: impl Iterator<Item = &'m str>) -> bool {
        let mut segments = self.segments();
        for wanted in module {
            if segments.next() != Some(wanted) {
                return false;
            }
        }
        // A function is in a module only if its own name follows; `<app::S as Trait>::f` is in
        // `app::S` although its type has no segment left.
        self.role != Role::Function || segments.next().is_some()
    }
}

/// The paths that say where the function lives, in order of weight: its own path, or, for
/// `<T as Trait>::f`, the type and then the trait. References, `mut` and `dyn` are removed from the
/// type; a type without a path (`[T]`, `(A, B)`, `fn()`) is left out.
pub(crate) fn homes(function: &str) -> Homes<'_> {
    let mut homes = Homes { paths: [None; MAX_HOMES], next: 0 };
    // Filled from the back: the innermost type of `<<A as B>::C as D>::f` weighs most.
    let mut free = MAX_HOMES;
    let mut text = function.trim();
    let mut role = Role::Function;
    while let Some(inside) = qualified(text) {
        let (self_type, trait_path) = split_as(inside);
        if let Some(trait_path) = trait_path
            && free > 1
        {
            free -= 1;
            homes.paths[free] = Some(Path { text: outer_type(trait_path.trim()), role: Role::Trait });
        }
        text = bare_type(self_type);
        role = Role::SelfType;
    }
    if text.starts_with(|c: char| c == '_' || c == '{' || c.is_alphabetic()) && !is_fn_pointer(text) {
        free -= 1;
        homes.paths[free] = Some(Path { text, role });
    }
    homes.next = free;
    homes
}

/// Whether the name has no path: a C function, or what debug information without paths calls a
/// function (`insert`, `block_on<app::outer::{async_fn_env#0}>`, `{closure#5}`).
pub(crate) fn is_bare(function: &str) -> bool {
    let mut homes = homes(function);
    match homes.next() {
        Some(path) => path.role == Role::Function && path.segments().nth(1).is_none(),
        // `<u64>::from_ascii_radix` has no home, but it is a path.
        None => qualified(function).is_none(),
    }
}

/// The paths of one name. Made by [`homes`].
#[derive(Clone, Debug)]
pub(crate) struct Homes<'a> {
    paths: [Option<Path<'a>>; MAX_HOMES],
    next: usize,
}

impl<'a> Iterator for Homes<'a> {
    type Item = Path<'a>;

    fn next(&mut self) -> Option<Path<'a>> {
        let path = *self.paths.get(self.next)?;
        self.next += 1;
        path
    }
}

/// The segments of a path. Made by [`Path::segments`].
#[derive(Clone, Debug)]
pub(crate) struct Segments<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let rest = self.rest?;
            let end = find_outside(rest, "::");
            let segment = match end {
                Some(end) => {
                    self.rest = Some(&rest[end + 2..]);
                    &rest[..end]
                }
                None => {
                    self.rest = None;
                    rest
                }
            };
            // `::<u8>` is an argument list, `::<impl Trait for Type>` is where an impl stands.
            if segment.starts_with("<impl ") {
                return Some(segment);
            }
            let name = segment.split('<').next().unwrap_or_default().trim();
            if !name.is_empty() {
                return Some(name);
            }
        }
    }
}

/// The inside of the leading `<…>` of a name.
fn qualified(name: &str) -> Option<&str> {
    let inside = name.strip_prefix('<')?;
    let end = closing(name)?;
    inside.get(..end - 1)
}

/// The type in whose method a trait is declared, `app::S` of `<app::S>::f::Local`; other paths as they are.
fn outer_type(path: &str) -> &str {
    let mut path = path;
    while let Some(inside) = qualified(path) {
        path = bare_type(split_as(inside).0);
    }
    path
}

/// Splits `T as Trait` where neither side is inside of brackets.
fn split_as(inside: &str) -> (&str, Option<&str>) {
    match find_outside(inside, " as ") {
        Some(at) => (&inside[..at], Some(&inside[at + 4..])),
        None => (inside, None),
    }
}

/// A type without references, `mut`, `dyn`, binders, parentheses around it and further bounds.
fn bare_type(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let shorter = if let Some(referent) = text.strip_prefix('&') {
            skip_lifetime(referent)
        } else if let Some(rest) = text.strip_prefix("mut ") {
            rest
        } else if let Some(bounds) = text.strip_prefix("dyn ") {
            let bounds = skip_binder(bounds);
            &bounds[..find_outside(bounds, "+").unwrap_or(bounds.len())]
        } else if text.starts_with('(') && closing(text) == Some(text.len() - 1) {
            let inside = &text[1..text.len() - 1];
            if find_outside(inside, ",").is_some() {
                return text;
            }
            inside
        } else {
            return text;
        };
        text = shorter.trim();
    }
}

/// Skips `'a ` after a reference.
fn skip_lifetime(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(lifetime) => lifetime.split_once(' ').map_or("", |(_, rest)| rest),
        None => text,
    }
}

/// Skips `for<'a> ` before a bound.
fn skip_binder(text: &str) -> &str {
    match text.strip_prefix("for<") {
        Some(binder) => binder.split_once('>').map_or("", |(_, rest)| rest.trim_start()),
        None => text,
    }
}

fn is_fn_pointer(text: &str) -> bool {
    ["fn(", "unsafe ", "extern ", "for<"].iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The homes of a name as text: segments joined, one home after the other.
    fn read(function: &str) -> Vec<String> {
        homes(function).map(|path| path.segments().collect::<Vec<_>>().join("/")).collect()
    }

    /// Names dumped from compiled programs, in both manglings, and their homes.
    #[rustfmt::skip]
    const NAMES: &[(&str, &[&str])] = &[
        // Legacy mangling.
        ("app::main", &["app/main"]),
        ("app::Cache<T>::insert", &["app/Cache/insert"]),
        ("app::main::{{closure}}::{{closure}}", &["app/main/{{closure}}/{{closure}}"]),
        ("app::mod::inner::with_impl", &["app/mod/inner/with_impl"]),
        ("app::mod::inner::<impl app::S>::far", &["app/mod/inner/<impl app::S>/far"]),
        ("app::_::<impl serde::Serialize for app::T>::serialize", &["app/_/<impl serde::Serialize for app::T>/serialize"]),
        ("app::<impl app_utils::Tr<app::S> for alloc::vec::Vec<app::S>>::go", &["app/<impl app_utils::Tr<app::S> for alloc::vec::Vec<app::S>>/go"]),
        ("app::<impl app_utils::Tr<app::S> for fn(u32) .> app::S>::go", &["app/<impl app_utils::Tr<app::S> for fn(u32) .> app::S>/go"]),
        ("alloc::slice::<impl [T]>::sort_by_key::{{closure}}", &["alloc/slice/<impl [T]>/sort_by_key/{{closure}}"]),
        ("<app::Cache<T> as core::fmt::Debug>::fmt", &["app/Cache", "core/fmt/Debug"]),
        ("<app::S as app_utils::Tr<app::Cache<u8>>>::go", &["app/S", "app_utils/Tr"]),
        ("<&app::S as app_utils::Tr<app::S>>::go", &["app/S", "app_utils/Tr"]),
        ("<&mut [app::S; 3] as app_utils::Tr<app::S>>::go", &["app_utils/Tr"]),
        ("<(u8,app::S) as app_utils::Tr<app::S>>::go", &["app_utils/Tr"]),
        ("<*const app::S as app_utils::Tr<app::S>>::go", &["app_utils/Tr"]),
        ("<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once", &["alloc/boxed/Box", "core/ops/function/FnOnce"]),
        ("<dyn app::Local+core::marker::Send as core::fmt::Display>::fmt", &["app/Local", "core/fmt/Display"]),
        ("<&(dyn app::Local+core::marker::Send) as core::fmt::Display>::fmt", &["app/Local", "core/fmt/Display"]),
        ("<T as app::Local>::local", &["T", "app/Local"]),
        ("core::ops::function::FnOnce::call_once{{vtable.shim}}", &["core/ops/function/FnOnce/call_once{{vtable.shim}}"]),
        ("core::ptr::drop_in_place<alloc::boxed::Box<dyn core::any::Any+core::marker::Send>>", &["core/ptr/drop_in_place"]),
        ("std::rt::lang_start::{{closure}}", &["std/rt/lang_start/{{closure}}"]),
        // v0 mangling.
        ("<app::Cache<u8>>::insert_as::<core::option::Option<&str>>", &["app/Cache"]),
        ("<app::Cache<u8> as core::fmt::Debug>::fmt", &["app/Cache", "core/fmt/Debug"]),
        ("<[i32]>::sort_by_key::<i32, app::main::{closure#6}>::{closure#0}", &[]),
        ("<[u8] as app_utils::Tr<app::S>>::go", &["app_utils/Tr"]),
        ("<(u8, app::S) as app_utils::Tr<app::S>>::go", &["app_utils/Tr"]),
        ("<fn(u32) -> app::S as app_utils::Tr<app::S>>::go", &["app_utils/Tr"]),
        ("<fn() as core::ops::function::FnOnce<()>>::call_once", &["core/ops/function/FnOnce"]),
        ("<&dyn app::Local as core::fmt::Display>::fmt", &["app/Local", "core/fmt/Display"]),
        ("<&dyn app::Local + core::marker::Send as core::fmt::Display>::fmt", &["app/Local", "core/fmt/Display"]),
        ("<&dyn for<'a> core::ops::function::Fn<(&'a u32,), Output = i32> + core::marker::Sync as core::ops::function::FnOnce<()>>::call_once", &["core/ops/function/Fn", "core/ops/function/FnOnce"]),
        ("<app::It as core::iter::traits::iterator::Iterator>::collect::<alloc::vec::Vec<u8>>", &["app/It", "core/iter/traits/iterator/Iterator"]),
        ("<app::main::{closure#4} as core::ops::function::FnOnce<()>>::call_once::{shim:vtable#0}", &["app/main/{closure#4}", "core/ops/function/FnOnce"]),
        ("<std::thread::lifecycle::spawn_unchecked<app::main::{closure#5}, ()>::{closure#1} as core::ops::function::FnOnce<()>>::call_once::{shim:vtable#0}", &["std/thread/lifecycle/spawn_unchecked/{closure#1}", "core/ops/function/FnOnce"]),
        ("<<alloc::boxed::Box<dyn core::error::Error + core::marker::Send> as core::convert::From<alloc::string::String>>::from::StringError as core::error::Error>::provide", &["alloc/boxed/Box", "core/convert/From", "core/error/Error"]),
        ("<<std::sync::once::Once>::call_once<std::rt::cleanup::{closure#0}>::{closure#0} as core::ops::function::FnOnce<(&std::sync::once::OnceState,)>>::call_once::{shim:vtable#0}", &["std/sync/once/Once", "core/ops/function/FnOnce"]),
        ("<alloc::string::String as <alloc::ffi::c_str::CString>::new::SpecNewImpl>::spec_new_impl", &["alloc/string/String", "alloc/ffi/c_str/CString"]),
        ("app::generic::<alloc::boxed::Box<dyn for<'a> core::ops::function::Fn<(&'a u32,), Output = app::S> + core::marker::Send>>", &["app/generic"]),
        ("app::generic::<for<'a> fn(&'a u32) -> &'a u32>", &["app/generic"]),
        ("app::generic::<fn(u32) -> app::S>", &["app/generic"]),
        ("<app::Arr<3, '>'>>::show", &["app/Arr"]),
        ("<app::Arr<3, '\\''>>::show", &["app/Arr"]),
        ("core::slice::sort::shared::smallsort::insert_tail::<i32, <[i32]>::sort_by_key<i32, app::main::{closure#6}>::{closure#0}>", &["core/slice/sort/shared/smallsort/insert_tail"]),
        ("std::rt::lang_start::<()>::{closure#0}", &["std/rt/lang_start/{closure#0}"]),
        ("<u32 as app::Local>::local", &["u32", "app/Local"]),
        ("<u64>::from_ascii_radix", &["u64"]),
        ("__rustc::__rust_alloc", &["__rustc/__rust_alloc"]),
        // Names without a path.
        ("c_entry", &["c_entry"]),
        ("{async_fn#0}", &["{async_fn#0}"]),
        ("block_on<app::outer::{async_fn_env#0}>", &["block_on"]),
    ];

    #[test]
    fn names_of_both_manglings_are_read() {
        for (name, homes) in NAMES {
            assert_eq!(read(name), *homes, "{name}");
        }
    }

    #[test]
    fn a_name_without_a_path_is_bare() {
        for bare in [
            "main",
            "_start",
            "c_entry",
            "{closure#5}",
            "{async_fn#0}",
            "drop_in_place<app::S>",
            "{closure#0}<app::main::{closure_env#5}, ()>",
            "block_on<app::outer::{async_fn_env#0}>",
            "",
        ] {
            assert!(is_bare(bare), "{bare}");
        }
        for full in [
            "app::main",
            "<app::S as app::Local>::local",
            "<[i32]>::sort",
            "<u64>::from_ascii_radix",
            "core::ptr::drop_in_place<app::S>",
        ] {
            assert!(!is_bare(full), "{full}");
        }
    }

    #[test]
    fn a_function_is_inside_only_when_its_own_name_follows() {
        let inside = |name: &str, module: &str| homes(name).any(|path| path.is_inside(module.split("::")));
        assert!(inside("app::db::open", "app"));
        assert!(inside("app::db::open", "app::db"));
        assert!(!inside("app::db::open", "app::d"));
        assert!(!inside("app", "app"));
        assert!(inside("<app::S as core::fmt::Debug>::fmt", "app::S"));
    }

    #[test]
    fn crates_are_named_by_paths_only() {
        let crates = |name| homes(name).map(Path::crate_name).collect::<Vec<_>>();
        assert_eq!(crates("app::main"), [Some("app")]);
        assert_eq!(crates("main"), [None]);
        assert_eq!(crates("<T as app::Local>::local"), [None, Some("app")]);
        assert_eq!(crates("{closure#0}::x"), [None]);
    }

    #[test]
    fn nonsense_is_harmless() {
        for name in [
            "",
            "<",
            ">",
            "<<",
            "<>",
            "<>::",
            "::",
            "::::",
            "< as >::",
            "<T",
            "a::<",
            "a<b::c",
            "&",
            "<&>::f",
            "<dyn >::f",
            "<&'>::f",
            "'",
            "'\\",
            "<(>::f",
            "<()>::f",
            "<dyn for<>::f",
            "é::ü<ß>::x",
            "<é as ü>::ß",
            "a>::b",
            "-> ",
            "<a as b>",
        ] {
            homes(name).for_each(|path| {
                let _ = (path.segments().count(), path.crate_name(), path.is_inside(["a"].into_iter()));
            });
            let _ = is_bare(name);
        }
        let nested = format!("{}x{}::f", "<".repeat(1000), " as y::Z>".repeat(1000));
        assert_eq!(read(&nested).len(), MAX_HOMES);
    }
}
