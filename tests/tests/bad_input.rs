//! What `start` and `set_modules` refuse says what to do, changes nothing, and the program goes on.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::error::Error;
use std::hint::black_box;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, ModuleError, StartError, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// Allocates 64 bytes, and counts them.
fn totals_are_exact() {
    let (block, counted) = heaptally::measure(|| black_box(Vec::<u8>::with_capacity(black_box(64))));
    assert_eq!(counted, Counts { allocated_blocks: 1, allocated_bytes: 64, ..Counts::ZERO });
    drop(block);
    assert_eq!(heaptally::snapshot().check(), Ok(()));
}

fn refused(config: Config) -> StartError {
    let error = heaptally::start(config).unwrap_err();
    assert!(heaptally::tally().is_none());
    totals_are_exact();
    error
}

#[test]
fn each_refusal_says_what_to_do_and_leaves_everything_as_it_was() {
    depths_that_no_stack_has_are_refused();
    names_that_are_no_module_are_refused();

    let tally = heaptally::start(Config::new().modules(["bad-input"]).max_depth(Config::MAX_DEPTH)).unwrap();
    totals_are_exact();

    a_second_start_is_refused_and_the_running_one_is_at_hand();
    names_that_are_no_module_leave_the_modules_as_they_were(tally);
}

fn depths_that_no_stack_has_are_refused() {
    for depth in [0, 513, usize::MAX] {
        let error = refused(Config::new().max_depth(depth));
        assert!(matches!(error, StartError::Depth(refused) if refused == depth));
        assert_eq!(error.to_string(), format!("max_depth is {depth} and must be from 1 to 512; 512 is the default"));
    }
}

fn names_that_are_no_module_are_refused() {
    for name in ["", " \n"] {
        let error = refused(Config::new().modules(["app", name]));
        assert!(matches!(error, StartError::Module(ModuleError::Empty)));
        assert_eq!(
            error.to_string(),
            "a module name is empty; name a crate such as `app`, a module such as `app::db`, or no module at all"
        );
    }
    for name in [
        "a b",
        "app::",
        "app::::db",
        "1app",
        "app.db",
        "app/db",
        "app:db",
        "app<u8>",
        "::",
        "app()",
        "*",
        "crate",
        "self::db",
    ] {
        let error = refused(Config::new().modules([name]));
        assert!(matches!(&error, StartError::Module(ModuleError::Malformed { name: refused, .. }) if refused == name));
        assert_eq!(
            error.to_string(),
            format!(
                "`{name}` is not the path of a module; write the crate's name and modules separated by `::`, such as `app` \
                 or `app::db`"
            )
        );
        assert!(error.source().is_some_and(|source| source.is::<ModuleError>()));
    }
}

fn a_second_start_is_refused_and_the_running_one_is_at_hand() {
    let error = heaptally::start(heaptally::config!()).unwrap_err();
    assert!(matches!(error, StartError::AlreadyRunning));
    assert_eq!(error.to_string(), "heaptally was started before; heaptally::tally() gives the running one");
    assert!(heaptally::tally().is_some());
    quiet_snapshot().unwrap();
    // What is wrong with a configuration is said before anything else.
    assert!(matches!(heaptally::start(Config::new().max_depth(0)), Err(StartError::Depth(0))));
}

fn names_that_are_no_module_leave_the_modules_as_they_were(tally: heaptally::Tally) {
    assert!(matches!(tally.set_modules(["bad_input", ""]), Err(ModuleError::Empty)));
    assert!(
        matches!(tally.set_modules(["bad input"]), Err(ModuleError::Malformed { name, .. }) if name == "bad input")
    );
    let snapshot = quiet_snapshot().unwrap();
    let modules: Vec<&str> = snapshot.modules().iter().map(|module| &*module.name).collect();
    assert_eq!(modules, ["bad_input"]);

    let error: Box<dyn Error + Send + Sync> = Box::new(StartError::AlreadyRunning);
    assert!(error.source().is_none());
}
