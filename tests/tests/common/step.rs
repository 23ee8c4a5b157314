//! Runs a handler after every instruction of the calling thread, by the processor's trap flag.
//!
//! Used by tests that want the allocator interrupted everywhere, not where chance has it. A signal handler runs with the
//! flag cleared, so what the handler does is not stepped through; nor is the platform's unwinder, whose place the
//! program's own `_Unwind_Backtrace` takes: it runs for ten thousand instructions and is not what is tested.
//!
//! A step costs some microseconds. Tests that visit one instruction at a time visit [`chosen`] ones: all of them if the
//! environment variable `HEAPTALLY_STEPS` is `all`.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::{env, mem, ptr};

/// Is told how many instructions went before, and of the context that the kernel resumes.
pub(crate) type Handler = fn(u64, &mut libc::ucontext_t);

static HANDLER: OnceLock<Handler> = OnceLock::new();

/// The trap flag, in the flags register.
const TRAP_FLAG: i64 = 0x100;

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Off,
    Stepping,
    /// After a step.
    InHandler,
}

thread_local! {
    static PHASE: Cell<Phase> = const { Cell::new(Phase::Off) };
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Makes `handler` that of every step of every thread.
pub(crate) fn handle(handler: Handler) {
    assert!(HANDLER.set(handler).is_ok(), "one handler a process");
    // SAFETY: a zeroed sigaction is valid; the handler has the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_trap as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_NODEFER;
        assert_eq!(libc::sigaction(libc::SIGTRAP, &action, ptr::null_mut()), 0);
    }
}

extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the third argument of a handler is the context that the kernel resumes.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    if PHASE.get() == Phase::Stepping {
        PHASE.set(Phase::InHandler);
        let step = STEPS.replace(STEPS.get() + 1);
        if let Some(handler) = HANDLER.get() {
            handler(step, context);
        }
    }
    // Unless the handler has ended the stepping.
    if PHASE.get() == Phase::InHandler {
        PHASE.set(Phase::Stepping);
    } else {
        context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP_FLAG;
    }
}

/// Steps through what follows, until [`end`].
#[inline(always)]
pub(crate) fn begin() {
    STEPS.set(0);
    go_on();
}

#[inline(always)]
fn go_on() {
    PHASE.set(Phase::Stepping);
    // SAFETY: sets a flag that makes the kernel call the handler, which exists. Leaves the 128 bytes below the stack
    // pointer alone; the first trap comes after the last instruction, when the stack pointer is what it was.
    unsafe {
        std::arch::asm!(
            "lea rsp, [rsp - 128]",
            "pushfq",
            "or dword ptr [rsp], {flag}",
            "popfq",
            "lea rsp, [rsp + 128]",
            flag = const TRAP_FLAG,
        )
    };
}

/// Ends the stepping, at the next trap at the latest, and says how many steps there were. Also for handlers.
pub(crate) fn end() -> u64 {
    PHASE.set(Phase::Off);
    STEPS.get()
}

/// At most `visits` of the first `steps` instructions, evenly, and so few that stepping to each of them from the first on
/// takes about `budget` steps in all; every one of them if the environment says so.
pub(crate) fn chosen(steps: u64, visits: u64, budget: u64) -> impl Iterator<Item = u64> {
    let all = env::var("HEAPTALLY_STEPS").is_ok_and(|value| value == "all");
    // The way to one of them is half of all steps on the average.
    let visits = if all { steps } else { visits.min(2 * budget / steps) };
    let stride = steps / visits.max(1);
    (stride / 2..steps).step_by(stride.max(1) as usize)
}

type Visit = extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type Backtrace = unsafe extern "C" fn(Visit, *mut c_void) -> c_int;

/// # Safety
///
/// As the unwinder's.
// SAFETY: has the signature of the function whose place it takes, and does what that one does.
#[unsafe(no_mangle)]
unsafe extern "C" fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> c_int {
    /// Looked up once: a handler may have interrupted the lookup.
    static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    let is_stepped = PHASE.get() == Phase::Stepping;
    if is_stepped {
        PHASE.set(Phase::Off);
    }
    let mut next = NEXT.load(Ordering::Relaxed);
    // SAFETY: the unwinder has a function of this name and type; the caller keeps its promises.
    let result = unsafe {
        if next.is_null() {
            next = libc::dlsym(libc::RTLD_NEXT, c"_Unwind_Backtrace".as_ptr());
            NEXT.store(next, Ordering::Relaxed);
        }
        mem::transmute::<*mut c_void, Backtrace>(next)(visit, argument)
    };
    if is_stepped {
        go_on();
    }
    result
}
