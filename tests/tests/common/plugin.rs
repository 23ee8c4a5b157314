//! The libraries that `tests/build.rs` compiles: loaded, called through, and unloaded when dropped.
//!
//! Called on any thread. What is called must not panic: a panic does not pass through C.

use std::ffi::{CStr, CString, c_void};

type Call = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void);

/// See the module's head.
pub(crate) struct Plugin {
    handle: *mut c_void,
    call: Call,
}

impl Plugin {
    pub(crate) fn load(name: &str) -> Self {
        Self::load_from(&Self::path(name))
    }

    pub(crate) fn path(name: &str) -> CString {
        CString::new(format!("{}/{name}.so", env!("PLUGINS"))).expect("no zero")
    }

    /// Allocates nothing.
    pub(crate) fn load_from(path: &CStr) -> Self {
        // SAFETY: the library runs nothing when it is loaded.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{path:?}");
        // SAFETY: the function of that name, which has this type.
        let call = unsafe {
            let address = libc::dlsym(handle, c"plugin_call".as_ptr());
            assert!(!address.is_null());
            std::mem::transmute::<*mut c_void, Call>(address)
        };
        Self { handle, call }
    }

    pub(crate) fn address(&self) -> usize {
        self.call as usize
    }

    /// Calls `f` through two frames of the library.
    pub(crate) fn through<F: FnMut()>(&self, f: &mut F) {
        extern "C" fn call<F: FnMut()>(f: *mut c_void) {
            // SAFETY: the closure below, which nobody else uses meanwhile.
            unsafe { (*f.cast::<F>())() }
        }
        // SAFETY: the library is loaded, and calls `call` with its argument.
        unsafe { (self.call)(call::<F>, (&raw mut *f).cast()) }
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // SAFETY: loaded by `load`; no frame of it is left.
        assert_eq!(unsafe { libc::dlclose(self.handle) }, 0);
    }
}
