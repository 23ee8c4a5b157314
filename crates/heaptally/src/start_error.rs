//! Why tracking did not start.

use std::{error, fmt, io};

use crate::ModuleError;

/// Why [`start`](crate::start) failed. The program goes on, with exact totals and no sites.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// This platform has totals only.
    Unsupported,
    /// The program's allocations do not pass through a [`TallyAlloc`](crate::TallyAlloc).
    NotInstalled,
    /// Tracking runs already, or another thread is starting it.
    AlreadyRunning,
    /// A module name cannot be a module path.
    Module(ModuleError),
    /// A depth that no stack can be kept to.
    Depth(usize),
    /// The aggregator thread could not be created.
    Thread(io::Error),
    /// The system has no memory to note what a forked child must do.
    ForkHandler(io::Error),
    /// Unwinding does not reach the caller on this system.
    Capture,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str(
                "this platform has totals and `measure` only; sites need Linux on x86-64 with glibc, leave out the call of start elsewhere",
            ),
            Self::NotInstalled => f.write_str(
                "allocations do not pass through heaptally; declare `#[global_allocator] static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();` in the program",
            ),
            Self::AlreadyRunning => f.write_str("heaptally was started before; heaptally::tally() gives the running one"),
            Self::Module(error) => write!(f, "{error}"),
            Self::Depth(depth) => write!(
                f,
                "max_depth is {depth} and must be from 1 to {}; 512 is the default",
                crate::Config::MAX_DEPTH
            ),
            Self::Thread(error) => {
                write!(f, "the aggregator thread could not be created ({error}); raise the limit of threads and start again")
            }
            Self::ForkHandler(error) => write!(f, "the handler for forks could not be registered ({error}); start again"),
            Self::Capture => f.write_str(
                "a test capture of the call stack did not reach its caller; check that the program keeps its .eh_frame section",
            ),
        }
    }
}

impl error::Error for StartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Module(error) => Some(error),
            Self::Thread(error) | Self::ForkHandler(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ModuleError> for StartError {
    fn from(error: ModuleError) -> Self {
        Self::Module(error)
    }
}
