//! One run of a model: which of loom's atomics stands for which word, and what memory the run has.
//!
//! Loom's atomics are made by the thread that owns them and have no place in a static or in zeroed memory. So each run makes
//! a number of them before its first thread starts, and a word takes the next one when it is first touched. They hold the
//! difference to the word's initial value. That an element of the arena's memory is not reached before its memory is handed
//! out, and that this has *happened before*, is checked by a cell for each piece of memory.

extern crate std;

use core::any::Any;
use core::cell::RefCell;
use core::panic::Location;

use std::boxed::Box;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::thread_local;
use std::vec::Vec;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU64 as Modelled;

use super::fault::{self, Fault, Instead};
use super::system;

/// What stands for a word.
#[derive(Clone)]
pub(super) enum Word {
    Modelled(Rc<Modelled>),
    /// In a file beside the model.
    Beside(Rc<core::cell::Cell<u64>>),
}

#[derive(Default)]
struct Execution {
    fault: Option<Fault>,
    beside: &'static [&'static str],
    unused: Vec<Modelled>,
    words: HashMap<usize, Word>,
    /// Pieces of the arena's memory: where they begin, their length, and whether they are.
    pieces: BTreeMap<usize, (usize, Rc<UnsafeCell<()>>)>,
    kept: Vec<Box<dyn Any>>,
}

thread_local! {
    static EXECUTION: RefCell<Execution> = RefCell::default();
}

/// Begins a run, on its first thread.
pub(super) fn begin(fault: Option<Fault>, beside: &'static [&'static str], words: usize) {
    let unused = (0..words).map(|_| Modelled::new(0)).collect();
    let last = EXECUTION.replace(Execution { fault, beside, unused, ..Execution::default() });
    drop(last);
    system::begin();
}

/// What stands for the word at an address, in an operation called there.
pub(super) fn word(address: usize, caller: &Location<'_>) -> Word {
    let (word, piece) = EXECUTION.with_borrow_mut(|execution| {
        let piece = execution.pieces.range(..=address).next_back();
        let piece = piece.and_then(|(begin, (len, cell))| (address - begin < *len).then(|| cell.clone()));
        let Execution { words, unused, beside, .. } = execution;
        let word = words.entry(address).or_insert_with(|| {
            if beside.iter().any(|file| fault::is_file(caller, file)) {
                return Word::Beside(Rc::default());
            }
            Word::Modelled(Rc::new(unused.pop().expect("the model touches too many words")))
        });
        (word.clone(), piece)
    });
    if let (Some(piece), Word::Modelled(_)) = (piece, &word) {
        // Fails unless the memory was handed out before.
        piece.with(|_| ());
    }
    word
}

/// What an operation called there does instead, if it is the faulty one.
pub(super) fn instead(caller: &Location<'_>) -> Option<Instead> {
    EXECUTION.with_borrow(|execution| execution.fault.and_then(|fault| fault.at(caller)))
}

/// Notes that the calling thread has got a piece of the arena's memory.
pub(super) fn note_piece(begin: usize, len: usize) {
    let cell = Rc::new(UnsafeCell::new(()));
    EXECUTION.with_borrow_mut(|execution| execution.pieces.insert(begin, (len, cell)));
}

/// Keeps a value until the next run.
pub(super) fn keep<T: 'static>(value: T) -> &'static T {
    let kept = Box::new(value);
    let address: *const T = &raw const *kept;
    EXECUTION.with_borrow_mut(|execution| execution.kept.push(kept));
    // SAFETY: boxed, not moved and not dropped before the threads of this run are gone, which are all that see it.
    unsafe { &*address }
}
