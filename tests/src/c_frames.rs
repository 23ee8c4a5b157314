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
    extern "C" fn call<F: FnMut()>(f: *mut c_void) {
        // SAFETY: the closure below, which nobody else uses meanwhile.
        unsafe { (*f.cast::<F>())() }
    }
    assert!(bytes > 0, "no room of zero bytes");
    // SAFETY: the function calls `call` with its argument and returns.
    unsafe { FUNCTIONS[function].1(bytes, call::<F>, (&raw mut *f).cast()) }
}
