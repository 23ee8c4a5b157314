//! Does not build, so that it can be seen what the driver says of a subject that does not.

compile_error!("broken on purpose");

fn main() {}
