//! Call frame information: from the bytes of a CIE and an FDE to the rule of one instruction pointer.
//!
//! Run in the hook the first time the process meets a call site; a few hundred bytes of stack, no allocation, no
//! panic. Follows three things only, the canonical frame address, `rbp` and the return address, because a stack of
//! instruction pointers needs no more. What it cannot follow is COMPLEX, never a guess.
//!
//! Source: DWARF 5, section 6.4, and the Linux Standard Base, "DWARF Extensions", for `.eh_frame`. The tests compare
//! it with gimli over every function of the test program and its libraries.

use super::bytes::Bytes;
use super::rule::{Base, CallerFp, Rule};

/// Numbers of registers in the x86-64 psABI's table 3.36.
const RBP: u64 = 6;
const RSP: u64 = 7;
const RETURN_ADDRESS: u64 = 16;

/// Of an opcode whose upper two bits say what it is.
const LOW_BITS: u8 = 0x3F;

/// `DW_CFA_remember_state` nests at most this deep; compilers use one level.
const REMEMBERED_ROWS: usize = 4;

/// What a CIE says of its FDEs.
#[derive(Clone, Copy)]
pub(crate) struct Cie<'a> {
    pub(crate) code_align: u64,
    pub(crate) data_align: i64,
    /// Encoding of addresses in its FDEs.
    pub(crate) address_encoding: u8,
    /// Whether its FDEs have augmentation data, led by their length.
    pub(crate) has_augmentation: bool,
    /// Whether its functions are called by no call: the caller's instruction pointer is exact.
    pub(crate) is_signal_frame: bool,
    pub(crate) instructions: Bytes<'a>,
}

/// What an FDE says of its function.
pub(crate) struct Fde<'a> {
    pub(crate) cie: Cie<'a>,
    pub(crate) start: u64,
    pub(crate) len_bytes: u64,
    pub(crate) instructions: Bytes<'a>,
}

/// Where the canonical frame address comes from.
#[derive(Clone, Copy)]
enum Cfa<'a> {
    Unset,
    Register { register: u64, offset: i64 },
    Expression(Bytes<'a>),
}

/// Where the caller's value of a register is.
#[derive(Clone, Copy)]
enum Saved<'a> {
    /// Nothing was said.
    Unset,
    Same,
    Undefined,
    /// At an offset from the canonical frame address.
    AtCfa(i64),
    /// At the address that an expression gives.
    AtExpression(Bytes<'a>),
    /// In another register, or a value of its own.
    Elsewhere,
}

#[derive(Clone, Copy)]
struct Row<'a> {
    cfa: Cfa<'a>,
    rbp: Saved<'a>,
    rsp: Saved<'a>,
    return_address: Saved<'a>,
}

impl<'a> Row<'a> {
    const EMPTY: Self = Self { cfa: Cfa::Unset, rbp: Saved::Unset, rsp: Saved::Unset, return_address: Saved::Unset };

    fn set(&mut self, register: u64, saved: Saved<'a>) {
        match register {
            RBP => self.rbp = saved,
            RSP => self.rsp = saved,
            RETURN_ADDRESS => self.return_address = saved,
            _ => {}
        }
    }

    fn restore(&mut self, register: u64, initial: &Self) {
        match register {
            RBP => self.rbp = initial.rbp,
            RSP => self.rsp = initial.rsp,
            RETURN_ADDRESS => self.return_address = initial.return_address,
            _ => {}
        }
    }
}

/// The rule of the instruction at `address`, which lies in the function of `fde`.
pub(crate) fn compile(fde: &Fde<'_>, address: u64) -> Rule {
    let rule = row_at(fde, address).and_then(|row| rule_of(&row)).unwrap_or(Rule::COMPLEX);
    if fde.cie.is_signal_frame { rule.with_exact_caller() } else { rule }
}

/// The row of the table that holds at `address`; `None` when an instruction is unknown or cut short.
fn row_at<'a>(fde: &Fde<'a>, address: u64) -> Option<Row<'a>> {
    let mut program = Program { cie: &fde.cie, bytes: fde.cie.instructions, location: fde.start, address };
    let mut initial = Row::EMPTY;
    program.run(&mut initial, &Row::EMPTY)?;
    program.bytes = fde.instructions;
    program.location = fde.start;
    let mut row = initial;
    program.run(&mut row, &initial)?;
    Some(row)
}

struct Program<'a, 'f> {
    cie: &'f Cie<'a>,
    bytes: Bytes<'a>,
    location: u64,
    address: u64,
}

impl<'a> Program<'a, '_> {
    /// Executes instructions until they end or pass `address`. `None` when one is unknown or cut short.
    fn run(&mut self, row: &mut Row<'a>, initial: &Row<'a>) -> Option<()> {
        let mut remembered = [Row::EMPTY; REMEMBERED_ROWS];
        let mut depth = 0;
        while !self.bytes.is_empty() {
            let opcode = self.bytes.u8()?;
            match opcode {
                // remember_state
                0x0A => {
                    remembered.get_mut(depth)?.clone_from(row);
                    depth += 1;
                }
                // restore_state
                0x0B => {
                    depth = usize::checked_sub(depth, 1)?;
                    row.clone_from(remembered.get(depth)?);
                }
                // advance_loc, set_loc, advance_loc1, advance_loc2, advance_loc4
                0x40..0x80 | 0x01..=0x04 => {
                    self.move_on(opcode)?;
                    if self.location > self.address {
                        return Some(());
                    }
                }
                // def_cfa and its variants
                0x0C..=0x0F | 0x12 | 0x13 => self.define_cfa(opcode, row)?,
                _ => self.save_or_restore(opcode, row, initial)?,
            }
        }
        Some(())
    }

    /// Instructions that move the location.
    fn move_on(&mut self, opcode: u8) -> Option<()> {
        let delta = match opcode {
            0x01 => {
                self.location = self.bytes.encoded(self.cie.address_encoding)?;
                return Some(());
            }
            0x02 => self.bytes.u8()?.into(),
            0x03 => self.bytes.u16()?.into(),
            0x04 => self.bytes.u32()?.into(),
            _ => u64::from(opcode & LOW_BITS),
        };
        self.location = self.location.checked_add(delta.checked_mul(self.cie.code_align)?)?;
        Some(())
    }

    /// Instructions that say where the canonical frame address comes from.
    fn define_cfa(&mut self, opcode: u8, row: &mut Row<'a>) -> Option<()> {
        if opcode == 0x0F {
            // def_cfa_expression
            row.cfa = Cfa::Expression(self.bytes.block()?);
            return Some(());
        }
        let (mut register, mut offset) = match row.cfa {
            Cfa::Register { register, offset } => (register, offset),
            // def_cfa and def_cfa_sf need no register before them.
            _ if matches!(opcode, 0x0C | 0x12) => (0, 0),
            _ => return None,
        };
        // def_cfa, def_cfa_register, def_cfa_sf
        if matches!(opcode, 0x0C | 0x0D | 0x12) {
            register = self.bytes.uleb()?;
        }
        match opcode {
            // def_cfa, def_cfa_offset
            0x0C | 0x0E => offset = self.bytes.uleb()? as i64,
            // def_cfa_sf, def_cfa_offset_sf
            0x12 | 0x13 => offset = self.factored_sleb()?,
            _ => {}
        }
        row.cfa = Cfa::Register { register, offset };
        Some(())
    }

    /// Instructions that say where a register is.
    fn save_or_restore(&mut self, opcode: u8, row: &mut Row<'a>, initial: &Row<'a>) -> Option<()> {
        let register = match opcode {
            // nop
            0x00 => return Some(()),
            // GNU_args_size: says how much a call pops when an exception is caught; moves nothing.
            0x2E => return self.bytes.uleb().map(drop),
            0x80.. => u64::from(opcode & LOW_BITS),
            _ => self.bytes.uleb()?,
        };
        let saved = match opcode {
            // restore, restore_extended
            0xC0.. | 0x06 => {
                row.restore(register, initial);
                return Some(());
            }
            // offset, offset_extended
            0x80..0xC0 | 0x05 => Saved::AtCfa(self.factored_uleb()?),
            // undefined
            0x07 => Saved::Undefined,
            // same_value
            0x08 => Saved::Same,
            // expression
            0x10 => Saved::AtExpression(self.bytes.block()?),
            // offset_extended_sf
            0x11 => Saved::AtCfa(self.factored_sleb()?),
            // GNU_negative_offset_extended
            0x2F => Saved::AtCfa(self.factored_uleb()?.checked_neg()?),
            // register, val_offset, val_offset_sf
            0x09 | 0x14 | 0x15 => {
                self.bytes.uleb()?;
                Saved::Elsewhere
            }
            // val_expression
            0x16 => {
                self.bytes.block()?;
                Saved::Elsewhere
            }
            _ => return None,
        };
        row.set(register, saved);
        Some(())
    }

    fn factored_uleb(&mut self) -> Option<i64> {
        (self.bytes.uleb()? as i64).checked_mul(self.cie.data_align)
    }

    fn factored_sleb(&mut self) -> Option<i64> {
        self.bytes.sleb()?.checked_mul(self.cie.data_align)
    }
}

/// `None` for what a rule cannot say.
fn rule_of(row: &Row<'_>) -> Option<Rule> {
    if matches!(row.return_address, Saved::Undefined) {
        return Some(Rule::END);
    }
    match row.cfa {
        Cfa::Register { register, offset } => by_register(row, register, offset),
        Cfa::Expression(expression) => by_expression(row, expression),
        Cfa::Unset => None,
    }
}

fn by_register(row: &Row<'_>, register: u64, offset: i64) -> Option<Rule> {
    let Saved::AtCfa(-8) = row.return_address else { return None };
    let Saved::Unset = row.rsp else { return None };
    Some(Rule::plain(base(register)?, offset, caller_fp(row.rbp)?))
}

fn by_expression(row: &Row<'_>, expression: Bytes<'_>) -> Option<Rule> {
    let (register, k, d) = loaded_address(expression)?;
    if let (Saved::AtExpression(pc), Saved::AtExpression(fp)) = (row.return_address, row.rbp) {
        // The signal frame: everything lies in the context above sp, the caller's sp in the word that the canonical
        // frame address comes from.
        let ((RSP, pc), (RSP, fp)) = (register_plus(pc)?, register_plus(fp)?) else { return None };
        let sp_is_cfa = match row.rsp {
            Saved::Unset => true,
            Saved::AtExpression(sp) => register_plus(sp)? == (RSP, k),
            _ => false,
        };
        return (register == RSP && d == 0 && sp_is_cfa).then(|| Rule::sigreturn(k, pc, fp));
    }
    let (Saved::AtCfa(r), Saved::Unset) = (row.return_address, row.rsp) else { return None };
    Some(Rule::indirect(base(register)?, k, d, r, caller_fp(row.rbp)?))
}

fn base(register: u64) -> Option<Base> {
    match register {
        RSP => Some(Base::StackPointer),
        RBP => Some(Base::FramePointer),
        _ => None,
    }
}

fn caller_fp(saved: Saved<'_>) -> Option<CallerFp> {
    match saved {
        // A value that is lost reads as what is in the register, in libgcc too.
        Saved::Unset | Saved::Same | Saved::Undefined => Some(CallerFp::Same),
        Saved::AtCfa(offset) => Some(CallerFp::AtCfa(offset)),
        Saved::AtExpression(expression) => match register_plus(expression)? {
            (RBP, offset) => Some(CallerFp::AtFp(offset)),
            _ => None,
        },
        Saved::Elsewhere => None,
    }
}

/// `breg(offset)`: a register plus a constant.
fn register_plus(mut expression: Bytes<'_>) -> Option<(u64, i64)> {
    let address = take_register_plus(&mut expression)?;
    expression.is_empty().then_some(address)
}

/// `breg(k) deref`, with a constant `d` added or not.
fn loaded_address(mut expression: Bytes<'_>) -> Option<(u64, i64, i64)> {
    let (register, k) = take_register_plus(&mut expression)?;
    // DW_OP_deref
    if expression.u8()? != 0x06 {
        return None;
    }
    if expression.is_empty() {
        return Some((register, k, 0));
    }
    // DW_OP_plus_uconst
    if expression.u8()? != 0x23 {
        return None;
    }
    let d = i64::try_from(expression.uleb()?).ok()?;
    expression.is_empty().then_some((register, k, d))
}

fn take_register_plus(expression: &mut Bytes<'_>) -> Option<(u64, i64)> {
    // DW_OP_breg0 to DW_OP_breg31
    let register = u64::from(expression.u8()?.checked_sub(0x70)?);
    (register < 32).then_some((register, expression.sleb()?))
}
