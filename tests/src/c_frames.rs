//! Calls through C functions whose frames Rust does not make; see `c/frames.c`.
//!
//! What is called must not panic: a panic does not pass through C.

use std::ffi::c_void;

type Through = unsafe extern "C" fn(usize, extern "C" fn(*mut c_void), *mut c_void);

macro_rules! functions {
    ($($name:ident),*) => {
        unsafe extern "C" {
            $(fn $name(bytes: usize, call: extern "C" fn(*mut c_void), argument: *mut c_void);)*
        }
        const FUNCTIONS: &[(&str, Through)] = &[$((stringify!($name), $name)),*];
    };
}

functions!(
    optimized_plain,
    optimized_alloca,
    optimized_aligned_32,
    optimized_aligned_64,
    optimized_aligned_128,
    optimized_aligned_alloca,
    optimized_alloca_loop,
    unoptimized_plain,
    unoptimized_alloca,
    unoptimized_aligned_32,
    unoptimized_aligned_64,
    unoptimized_aligned_128,
    unoptimized_aligned_alloca,
    unoptimized_alloca_loop
);

type From = unsafe extern "C" fn(Through, usize, extern "C" fn(*mut c_void), *mut c_void);

macro_rules! callers {
    ($($bytes:literal $optimized:ident $unoptimized:ident),*) => {
        unsafe extern "C" {
            $(
                fn $optimized(next: Through, bytes: usize, call: extern "C" fn(*mut c_void), argument: *mut c_void);
                fn $unoptimized(next: Through, bytes: usize, call: extern "C" fn(*mut c_void), argument: *mut c_void);
            )*
        }
        const CALLERS: &[(&str, usize, From)] = &[
            $((stringify!($optimized), $bytes, $optimized), (stringify!($unoptimized), $bytes, $unoptimized)),*
        ];
    };
}

callers!(
    16 optimized_from_16 unoptimized_from_16,
    32 optimized_from_32 unoptimized_from_32,
    48 optimized_from_48 unoptimized_from_48,
    64 optimized_from_64 unoptimized_from_64,
    2048 optimized_from_2048 unoptimized_from_2048
);

/// A function that calls one of those of [`through`], from a frame that differs from its fellows' in its size.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its name.
    pub name: &'static str,
    /// The bytes of its frame that it shares with no other.
    pub bytes: usize,
    call: From,
}

/// All callers, optimized or not.
pub fn callers(optimized: bool) -> impl DoubleEndedIterator<Item = Caller> {
    let all = CALLERS.iter().map(|&(name, bytes, call)| Caller { name, bytes, call });
    all.filter(move |caller| caller.name.starts_with("optimized") == optimized)
}

impl Caller {
    /// As [`through`], from the caller.
    #[inline(never)]
    pub fn through<F: FnMut()>(self, function: usize, bytes: usize, f: &mut F) {
        // SAFETY: the caller calls the function, which calls `call` with its argument and returns.
        unsafe { (self.call)(FUNCTIONS[function].1, bytes, call::<F>, (&raw mut *f).cast()) }
    }
}

extern "C" fn call<F: FnMut()>(f: *mut c_void) {
    // SAFETY: the closure that was given, which nobody else uses meanwhile.
    unsafe { (*f.cast::<F>())() }
}

/// The number of the function that has this name.
pub fn number(name: &str) -> usize {
    FUNCTIONS.iter().position(|(known, _)| *known == name).expect("a function")
}

/// The functions that [`through`] takes, from 0 to below this.
pub const COUNT: usize = FUNCTIONS.len();

/// The function's name.
pub fn name(function: usize) -> &'static str {
    FUNCTIONS[function].0
}

/// How often the function calls.
pub fn calls(function: usize) -> usize {
    if FUNCTIONS[function].0.ends_with("_loop") { 3 } else { 1 }
}

/// Calls `f` through the C function, which has `bytes` bytes, at least one, on its stack if it has a choice.
pub fn through<F: FnMut()>(function: usize, bytes: usize, f: &mut F) {
    assert!(bytes > 0, "no room of zero bytes");
    // SAFETY: the function calls `call` with its argument and returns.
    unsafe { FUNCTIONS[function].1(bytes, call::<F>, (&raw mut *f).cast()) }
}
