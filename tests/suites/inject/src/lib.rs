//! heaptally in programs that do not know of it: linked into a test binary, it is the global allocator, starts tracking
//! before `main`, and says at the process's end whether all numbers were conserved.
//!
//! What it reads of the environment, all of it set by tests/suites.sh:
//! - `HEAPTALLY_SUITES_REPORT`: the file that each process appends its lines to ([`report`]);
//! - `HEAPTALLY_SUITES_INNER`: the allocator inside ([`chosen`]);
//! - `HEAPTALLY_SUITES_FAULT`: a block goes past heaptally ([`bypass`]).

mod bypass;
mod chosen;
mod report;

use heaptally::TallyAlloc;
use heaptally_tests::{Ledger, Oracle};

use bypass::Bypass;
use chosen::Chosen;

/// What the program has asked for.
static ASKED: Ledger = Ledger::new();

#[global_allocator]
static ALLOC: Oracle<Bypass<TallyAlloc<Chosen>>> = Oracle::new(Bypass(TallyAlloc::new(Chosen)), &ASKED);

/// Run by the loader, before `main` and after what the C library and std set up.
#[used]
// SAFETY: the section of pointers to functions without a result.
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = report::begin;
