//! The rule compiler beside gimli: what both say of a section of unwind tables.
//!
//! For tests and fuzzers only. gimli reads the same bytes by a parser and an interpreter of its own; what its rows say is
//! put into the forms of [`Rule`] here, once more and from its types. COMPLEX are exactly the rows that no form fits.

extern crate std;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EndianSlice, LittleEndian, Operation, Register, RegisterRule, UnwindContext,
    UnwindExpression, UnwindSection, UnwindTableRow,
};
use std::vec::Vec;

use super::build_id::build_id;
use super::bytes::Bytes;
use super::cfi;
use super::eh_frame::fde_of;
use super::rule::{Base, CallerFp, Kind, Rule};

type Section<'a> = EhFrame<EndianSlice<'a, LittleEndian>>;
type Offset = usize;

const ENCODING: gimli::Encoding = gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
const RBP: Register = Register(6);
const RSP: Register = Register(7);
const RETURN_ADDRESS: Register = Register(16);

/// What gimli's row says, as a rule.
fn rule_of(row: &UnwindTableRow<Offset>, section: &Section<'_>, is_signal_frame: bool) -> Rule {
    let rule = form_of(row, section).unwrap_or(Rule::COMPLEX);
    if is_signal_frame { rule.with_exact_caller() } else { rule }
}

/// `None` where no form fits.
fn form_of(row: &UnwindTableRow<Offset>, section: &Section<'_>) -> Option<Rule> {
    let [return_address, rbp, rsp] = [RETURN_ADDRESS, RBP, RSP].map(|register| row.register(register));
    if return_address == Some(RegisterRule::Undefined) {
        return Some(Rule::END);
    }
    let at = |rule: &Option<RegisterRule<Offset>>| match rule {
        Some(RegisterRule::Expression(expression)) => register_plus(expression, section),
        _ => None,
    };
    let base = |register| match register {
        RSP => Some(Base::StackPointer),
        RBP => Some(Base::FramePointer),
        _ => None,
    };
    let caller_fp = || match &rbp {
        None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => Some(CallerFp::Same),
        Some(RegisterRule::Offset(offset)) => Some(CallerFp::AtCfa(*offset)),
        Some(RegisterRule::Expression(_)) => match at(&rbp)? {
            (RBP, offset) => Some(CallerFp::AtFp(offset)),
            _ => None,
        },
        _ => None,
    };
    match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            let is_usual = return_address == Some(RegisterRule::Offset(-8)) && rsp.is_none();
            if is_usual { Some(Rule::plain(base(*register)?, *offset, caller_fp()?)) } else { None }
        }
        CfaRule::Expression(expression) => {
            let (register, k, d) = loaded(expression, section)?;
            match (&return_address, at(&return_address), at(&rbp)) {
                (_, Some((RSP, pc)), Some((RSP, fp))) => {
                    let sp_is_cfa = rsp.is_none() || at(&rsp) == Some((RSP, k));
                    (register == RSP && d == 0 && sp_is_cfa).then(|| Rule::sigreturn(k, pc, fp))
                }
                (Some(RegisterRule::Offset(r)), None, _) if rsp.is_none() => {
                    Some(Rule::indirect(base(register)?, k, d, *r, caller_fp()?))
                }
                _ => None,
            }
        }
    }
}

fn operations<'a>(
    expression: &UnwindExpression<Offset>,
    section: &Section<'a>,
) -> Option<Vec<Operation<EndianSlice<'a, LittleEndian>>>> {
    let mut operations = expression.get(section).ok()?.operations(ENCODING);
    let mut all = Vec::new();
    while let Some(operation) = operations.next().ok()? {
        all.push(operation);
    }
    Some(all)
}

fn register_plus(expression: &UnwindExpression<Offset>, section: &Section<'_>) -> Option<(Register, i64)> {
    match operations(expression, section)?[..] {
        [Operation::RegisterOffset { register, offset, .. }] => Some((register, offset)),
        _ => None,
    }
}

fn loaded(expression: &UnwindExpression<Offset>, section: &Section<'_>) -> Option<(Register, i64, i64)> {
    let operations = operations(expression, section)?;
    let (Operation::RegisterOffset { register, offset: k, .. }, Operation::Deref { size: 8, space: false, .. }) =
        (operations.first()?, operations.get(1)?)
    else {
        return None;
    };
    match operations[2..] {
        [] => Some((*register, *k, 0)),
        [Operation::PlusConstant { value }] => Some((*register, *k, value.try_into().ok()?)),
        _ => None,
    }
}

fn boundaries(row: &UnwindTableRow<Offset>) -> Vec<u64> {
    let (start, end) = (row.start_address(), row.end_address());
    if start < end { Vec::from([start, end - 1]) } else { Vec::new() }
}

/// The address at which gimli and the compiler are told that a copied section lies; functions are near it.
fn address_of(section: &[u8]) -> u64 {
    section.as_ptr().addr() as u64
}

/// The part of `section` that the entry at `offset` says it has, after its length.
fn entry_at(section: &[u8], offset: usize) -> Option<Bytes<'_>> {
    let mut rest = Bytes::new(section.get(offset..)?);
    let len = rest.u32()? as usize;
    rest.take(len)
}

/// What the compiler says of every boundary that gimli sees in a section, beside what gimli says.
fn rules(section: &[u8], fde: usize, context: &mut UnwindContext<Offset>) -> Vec<(Rule, Option<Rule>)> {
    let start = address_of(section);
    let cie_at = |address: u64| entry_at(section, usize::try_from(address.checked_sub(start)?).ok()?);
    let ours = entry_at(section, fde).and_then(|bytes| fde_of(bytes, cie_at));
    let compile = |address| ours.as_ref().map_or(Rule::COMPLEX, |fde| cfi::compile(fde, address));
    let mut rules = Vec::new();
    if let Some(ours) = &ours {
        for address in [ours.start, ours.start.wrapping_add(ours.len_bytes / 2), u64::MAX] {
            rules.push((compile(address), None));
        }
    }
    let bases = BaseAddresses::default().set_eh_frame(start);
    let theirs = EhFrame::new(section, LittleEndian);
    let Ok(fde) = theirs.fde_from_offset(&bases, fde.into(), EhFrame::cie_from_offset) else { return rules };
    let Ok(mut rows) = fde.rows(&theirs, &bases, context) else { return rules };
    while let Ok(Some(row)) = rows.next_row() {
        for address in boundaries(row) {
            rules.push((compile(address), Some(rule_of(row, &theirs, fde.is_signal_trampoline()))));
        }
    }
    rules
}

/// Of a section's rules, how many are gimli's, and how many are left to the platform's unwinder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Agreement {
    agreed: usize,
    complex: usize,
}

/// Reads any section: whatever is in it, what the compiler makes of it is COMPLEX or what gimli makes of it, if that can
/// read it.
#[track_caller]
fn compare_table(section: &[u8], fde: usize, context: &mut UnwindContext<Offset>) -> Agreement {
    let mut agreement = Agreement::default();
    for (ours, theirs) in rules(section, fde, context) {
        match (ours.kind(), theirs) {
            (Kind::Complex, _) => agreement.complex += 1,
            (_, Some(theirs)) => {
                assert_eq!(ours, theirs, "{section:x?}");
                agreement.agreed += 1;
            }
            (_, None) => {}
        }
    }
    agreement
}

/// What fuzzers try: `data` is the place of an FDE, in one byte, and a section that it lies in. As a module's first page it
/// is read too.
#[track_caller]
pub(crate) fn check_table(data: &[u8]) {
    let Some((&fde, section)) = data.split_first() else { return };
    // Of its own length, so that a fuzzer's allocator sees whoever reads on.
    let section = Vec::from(section).into_boxed_slice();
    compare_table(&section, fde.into(), &mut UnwindContext::new());
    let _ = build_id(Bytes::new(&section));
}

#[cfg(test)]
mod tests;
