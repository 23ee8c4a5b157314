//! Prints when `main` begins, on heaptally over the system's allocator; it is not started.

#![forbid(unsafe_code)]

use heaptally::TallyAlloc;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    costs::print_begin();
}
