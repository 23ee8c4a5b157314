//! Call stacks in any number: ten functions that call each other by the digits of a number.
//!
//! Every function does something after the call: a call in tail position becomes a jump, and the caller is then not
//! on the stack.

use std::hint::black_box;

/// Calls `leaf` at the end of `digits` calls, one function for each decimal digit of `number`, its last digit first:
/// ten to the power of `digits` different stacks.
#[inline(never)]
pub fn at(number: usize, digits: u32, leaf: &mut dyn FnMut()) {
    match digits {
        0 => leaf(),
        _ => STEPS[number % STEPS.len()](number / STEPS.len(), digits - 1, leaf),
    }
    black_box(number);
}

type Step = fn(usize, u32, &mut dyn FnMut());

macro_rules! steps {
    ($($name:ident $digit:literal),*) => {
        const STEPS: [Step; 10] = [$($name),*];
        $(
            #[inline(never)]
            fn $name(number: usize, digits: u32, leaf: &mut dyn FnMut()) {
                at(number, digits, leaf);
                // A different body, so that the linker does not fold ten functions into one.
                black_box($digit);
            }
        )*
    };
}

steps!(zero 0, one 1, two 2, three 3, four 4, five 5, six 6, seven 7, eight 8, nine 9);
