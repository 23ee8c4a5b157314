//! The gate of a thread's state against `start`, `pause` and `resume`: it is open in the end, or what it lets pass is of the
//! mode of the end.

extern crate std;

use super::fault::Instead::Relaxed;
use super::fault::fault;
use super::{Model, both};
use crate::mode::Mode;
use crate::process::PROCESS;

/// A thread takes a state, the first or one that another has offered, while tracking is started.
const REGISTERS: Model = Model::new(|| {
    let first = PROCESS.registry.acquire(&PROCESS.arena, &PROCESS.mode).expect("a state");
    PROCESS.registry.own(first);
    PROCESS.registry.release(first, &PROCESS.arena);
    let starts = || {
        PROCESS.mode.set(Mode::On);
        PROCESS.registry.open_gates();
    };
    let registers = || PROCESS.registry.acquire(&PROCESS.arena, &PROCESS.mode).expect("a state");
    let ((), state) = both(starts, registers);
    assert!(!state.head.is_off(), "a thread that never learns of the start");
});

#[test]
fn a_thread_that_registers_during_the_start_learns_of_it() {
    REGISTERS.holds();
    REGISTERS.fails_with(fault!("registry.rs", "pub fn acquire", "fence(", Relaxed));
    REGISTERS.fails_with(fault!("registry.rs", "pub fn open_gates", "fence(", Relaxed));
}

/// The first thread of all: there is no state when tracking is started, or there is.
const CREATES: Model = Model::new(|| {
    let starts = || {
        PROCESS.mode.set(Mode::On);
        PROCESS.registry.open_gates();
    };
    let registers = || PROCESS.registry.acquire(&PROCESS.arena, &PROCESS.mode).expect("a state");
    let ((), state) = both(starts, registers);
    assert!(!state.head.is_off(), "a thread that never learns of the start");
});

#[test]
fn a_thread_that_gets_a_new_state_during_the_start_learns_of_it() {
    CREATES.holds();
    CREATES.fails_with(fault!("registry.rs", "pub fn acquire", "fence(", Relaxed));
    CREATES.fails_with(fault!("registry.rs", "pub fn open_gates", "fence(", Relaxed));
}

/// A tracked thread marks its gate, while another one pauses.
const MARKS: Model = Model::new(|| {
    PROCESS.mode.set(Mode::On);
    let state = PROCESS.registry.acquire(&PROCESS.arena, &PROCESS.mode).expect("a state");
    let pauses = || {
        PROCESS.mode.set(Mode::Paused);
        PROCESS.registry.open_gates();
    };
    both(pauses, move || {
        let busy = state.enter(1).expect("no operation in progress");
        state.take_path(&busy, &PROCESS.mode);
    });
    assert!(!state.head.is_tracked(), "a thread that never learns of the pause");
});

#[test]
fn a_thread_that_marks_its_gate_during_a_pause_learns_of_it() {
    MARKS.holds();
    MARKS.fails_with(fault!("thread_state.rs", "fn take_path", "fence(", Relaxed));
    MARKS.fails_with(fault!("registry.rs", "pub fn open_gates", "fence(", Relaxed));
}
