//! Atomics in the place of the processor's: each operation is loom's, on what stands for the word in this run.
//!
//! They have the size of the others, may be made in a static, and zeroed memory is zero. What they hold is their initial
//! value: it never changes.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "as those of core: in public types, with operations that not all of them need"
)]

extern crate std;

use core::fmt;
use core::panic::Location;

pub(crate) use core::sync::atomic::Ordering;

use super::execution::{self, Word};
use super::fault::Instead;

/// A fence.
#[track_caller]
pub(crate) fn fence(order: Ordering) {
    if !std::thread::panicking() && execution::instead(Location::caller()).is_none() {
        loom::sync::atomic::fence(order);
    }
}

/// One operation on a word, all numbers in 64 bits, as differences to the initial value.
struct Operation {
    word: Word,
    instead: Option<Instead>,
}

impl Operation {
    /// `None` while a panic unwinds, outside of the run.
    #[track_caller]
    fn begin(address: usize) -> Option<Self> {
        if std::thread::panicking() {
            return None;
        }
        let caller = Location::caller();
        let word = execution::word(address, caller);
        Some(Self { word, instead: execution::instead(caller) })
    }

    fn order(&self, order: Ordering) -> Ordering {
        if matches!(self.instead, Some(Instead::Relaxed)) { Ordering::Relaxed } else { order }
    }

    fn load(&self, order: Ordering) -> u64 {
        match &self.word {
            Word::Modelled(word) => word.load(self.order(order)),
            Word::Beside(word) => word.get(),
        }
    }

    fn store(&self, value: u64, order: Ordering) {
        match &self.word {
            _ if matches!(self.instead, Some(Instead::Nothing)) => {}
            Word::Modelled(word) => word.store(value, self.order(order)),
            Word::Beside(word) => word.set(value),
        }
    }

    fn compare_exchange(&self, from: u64, to: u64, success: Ordering, failure: Ordering) -> Result<u64, u64> {
        match &self.word {
            Word::Modelled(word) if matches!(self.instead, Some(Instead::Torn)) => match word.load(failure) {
                seen if seen == from => {
                    word.store(to, success);
                    Ok(seen)
                }
                seen => Err(seen),
            },
            Word::Modelled(word) => word.compare_exchange(from, to, self.order(success), self.order(failure)),
            Word::Beside(word) if word.get() == from => Ok(word.replace(to)),
            Word::Beside(word) => Err(word.get()),
        }
    }

    /// Adds `n` if there is one, or stores `to`.
    fn replace(&self, change: impl Fn(u64) -> u64, native: impl Fn(&loom::sync::atomic::AtomicU64) -> u64) -> u64 {
        match &self.word {
            Word::Modelled(word) if matches!(self.instead, Some(Instead::Torn)) => {
                let seen = word.load(Ordering::Relaxed);
                word.store(change(seen), Ordering::Relaxed);
                seen
            }
            Word::Modelled(word) => native(word),
            Word::Beside(word) => word.replace(change(word.get())),
        }
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty, $number:ty, $to:expr, $from:expr) => {
        /// As the one of the same name in core.
        #[repr(transparent)]
        pub struct $name($value);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(value)
            }

            /// What stands for a value: its difference to the initial one, with its sign.
            fn stored(&self, value: $value) -> u64 {
                let to: fn($value) -> $number = $to;
                to(value).wrapping_sub(to(self.0)) as i64 as u64
            }

            fn value(&self, stored: u64) -> $value {
                let to: fn($value) -> $number = $to;
                let from: fn($number) -> $value = $from;
                from(to(self.0).wrapping_add(stored as $number))
            }

            #[track_caller]
            fn begin(&self) -> Option<Operation> {
                Operation::begin(core::ptr::from_ref(self).addr())
            }

            /// What is stored instead of a value, if the operation is the faulty one.
            fn faulty(&self, operation: &Operation, value: $value) -> $value {
                let to: fn($value) -> $number = $to;
                let from: fn($number) -> $value = $from;
                match operation.instead {
                    Some(Instead::Storing(other)) => from(other(to(value) as u64) as $number),
                    _ => value,
                }
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.begin().map_or(self.0, |operation| self.value(operation.load(order)))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                let Some(operation) = self.begin() else { return };
                operation.store(self.stored(self.faulty(&operation, value)), order);
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                let Some(operation) = self.begin() else { return self.0 };
                let (stored, order) = (self.stored(self.faulty(&operation, value)), operation.order(order));
                self.value(operation.replace(|_| stored, |word| word.swap(stored, order)))
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let Some(operation) = self.begin() else { return Ok(from) };
                let to = self.stored(self.faulty(&operation, to));
                let outcome = operation.compare_exchange(self.stored(from), to, success, failure);
                outcome.map(|seen| self.value(seen)).map_err(|seen| self.value(seen))
            }

            #[track_caller]
            pub(crate) fn compare_exchange_weak(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(from, to, success, failure)
            }

            #[track_caller]
            pub(crate) fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                mut change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut seen = self.load(failure);
                loop {
                    let Some(to) = change(seen) else { return Err(seen) };
                    match self.compare_exchange(seen, to, success, failure) {
                        Ok(before) => return Ok(before),
                        Err(newer) => seen = newer,
                    }
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

macro_rules! atomic_number {
    ($name:ident, $value:ty) => {
        atomic!($name, $value, $value, |value| value, |number| number);

        impl Default for $name {
            fn default() -> Self {
                Self::new(0)
            }
        }

        impl $name {
            #[track_caller]
            pub(crate) fn fetch_add(&self, n: $value, order: Ordering) -> $value {
                let Some(operation) = self.begin() else { return self.0 };
                let (n, order) = (n as i64 as u64, operation.order(order));
                self.value(operation.replace(|seen| seen.wrapping_add(n), |word| word.fetch_add(n, order)))
            }

            #[track_caller]
            pub(crate) fn fetch_sub(&self, n: $value, order: Ordering) -> $value {
                self.fetch_add(n.wrapping_neg(), order)
            }

            #[track_caller]
            pub(crate) fn fetch_max(&self, n: $value, order: Ordering) -> $value {
                let raised = self.fetch_update(order, Ordering::Relaxed, |seen| Some(seen.max(n)));
                raised.unwrap_or_else(|seen| seen)
            }
        }
    };
}

atomic_number!(AtomicU8, u8);
atomic_number!(AtomicU32, u32);
atomic_number!(AtomicU64, u64);
atomic_number!(AtomicUsize, usize);
atomic_number!(AtomicI64, i64);
atomic!(AtomicBool, bool, u8, u8::from, |number| number != 0);

impl AtomicBool {
    #[track_caller]
    pub(crate) fn fetch_or(&self, value: bool, order: Ordering) -> bool {
        if value { self.swap(true, order) } else { self.load(order) }
    }
}

/// As the one of the same name in core.
#[repr(transparent)]
pub struct AtomicPtr<T>(*mut T);

// SAFETY: the pointer in it is never read by way of another thread's store: it never changes.
unsafe impl<T> Sync for AtomicPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Send for AtomicPtr<T> {}

impl<T> AtomicPtr<T> {
    pub(crate) const fn new(pointer: *mut T) -> Self {
        Self(pointer)
    }

    /// The word, whose pointer is null at first.
    fn word(&self) -> &AtomicUsize {
        assert!(self.0.is_null());
        // SAFETY: the same size and alignment, and null is zero.
        unsafe { &*core::ptr::from_ref(self).cast::<AtomicUsize>() }
    }

    #[track_caller]
    pub(crate) fn load(&self, order: Ordering) -> *mut T {
        core::ptr::with_exposed_provenance_mut(self.word().load(order))
    }

    #[track_caller]
    pub(crate) fn store(&self, pointer: *mut T, order: Ordering) {
        self.word().store(pointer.expose_provenance(), order);
    }

    #[track_caller]
    pub(crate) fn compare_exchange(
        &self,
        from: *mut T,
        to: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        let outcome = self.word().compare_exchange(from.addr(), to.expose_provenance(), success, failure);
        outcome.map(core::ptr::with_exposed_provenance_mut).map_err(core::ptr::with_exposed_provenance_mut)
    }

    #[track_caller]
    pub(crate) fn compare_exchange_weak(
        &self,
        from: *mut T,
        to: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.compare_exchange(from, to, success, failure)
    }
}
