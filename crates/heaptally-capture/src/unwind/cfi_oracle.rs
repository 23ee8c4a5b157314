//! The rule compiler beside gimli: over every function of the test program and its libraries, and over damaged tables.
//!
//! Under test only. gimli reads the same bytes by a parser and an interpreter of its own; what its rows say is put into
//! the forms of [`Rule`] here, once more and from its types. COMPLEX are exactly the rows that no form fits.

extern crate std;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, Operation, Register, RegisterRule,
    UnwindContext, UnwindExpression, UnwindSection, UnwindTableRow,
};
use std::ops::Range;
use std::string::String;
use std::vec::Vec;

use super::eh_frame::EhFrameHeader;
use super::rule::{Base, CallerFp, Kind, Rule};

type Slice = EndianSlice<'static, LittleEndian>;
type Section<'a> = EhFrame<EndianSlice<'a, LittleEndian>>;
type Offset = usize;

const ENCODING: gimli::Encoding = gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
const RBP: Register = Register(6);
const RSP: Register = Register(7);
const RETURN_ADDRESS: Register = Register(16);

/// A module's tables, and the bytes that they lie in.
struct Module {
    name: String,
    header: u64,
    /// Of the header's segment, to its end.
    header_bytes: &'static [u8],
    segments: Vec<Range<u64>>,
}

/// Every loaded module that has tables.
fn modules() -> Vec<Module> {
    unsafe extern "C" fn collect(
        info: *mut libc::dl_phdr_info,
        _: usize,
        modules: *mut core::ffi::c_void,
    ) -> core::ffi::c_int {
        // SAFETY: the loader's description of a module, and the vector below.
        let (info, modules) = unsafe { (&*info, &mut *modules.cast::<Vec<Module>>()) };
        // SAFETY: that many program headers; a name that ends with a zero.
        let (headers, name) = unsafe {
            let name = core::ffi::CStr::from_ptr(info.dlpi_name).to_string_lossy().into_owned();
            (core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()), name)
        };
        let range = |header: &libc::Elf64_Phdr| {
            let start = info.dlpi_addr + header.p_vaddr;
            start..start + header.p_memsz
        };
        let segments = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(range).collect();
        if let Some(tables) = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME).map(range) {
            // SAFETY: a mapped segment of a module that stays loaded.
            let header_bytes = unsafe { bytes(tables.clone()) };
            modules.push(Module { name, header: tables.start, header_bytes, segments });
        }
        0
    }
    let mut modules = Vec::new();
    // SAFETY: the callback has the required signature and gets a vector.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut modules).cast()) };
    modules
}

/// # Safety
///
/// The range is mapped, readable and not written while the value is used.
unsafe fn bytes(range: Range<u64>) -> &'static [u8] {
    let start = core::ptr::with_exposed_provenance(range.start as usize);
    // SAFETY: the caller's.
    unsafe { core::slice::from_raw_parts(start, (range.end - range.start) as usize) }
}

/// What rows were seen, by kind.
#[derive(Debug, Default)]
struct Seen {
    plain: usize,
    indirect: usize,
    sigreturn: usize,
    end: usize,
    complex: usize,
    gaps: usize,
}

#[test]
fn every_row_of_every_loaded_module_is_gimlis() {
    let mut seen = Seen::default();
    let modules = modules();
    for module in &modules {
        compare(module, &mut seen);
    }
    std::println!("{} modules, {seen:?}", modules.len());
    // This program, libgcc_s, libc, the loader and the kernel's page.
    assert!(modules.len() >= 4);
    assert!(seen.plain > 10_000 && seen.sigreturn > 0 && seen.end > 0 && seen.gaps > 0);
    assert!(seen.complex * 100 < seen.plain);
}

fn compare(module: &Module, seen: &mut Seen) {
    let bases = BaseAddresses::default().set_eh_frame_hdr(module.header);
    let header = EhFrameHdr::new(module.header_bytes, LittleEndian).parse(&bases, 8).expect("a header");
    let gimli::Pointer::Direct(start) = header.eh_frame_ptr() else { panic!("an indirect pointer") };
    let segment = module.segments.iter().find(|segment| segment.contains(&start)).expect("a segment");
    // SAFETY: the rest of a mapped segment; a section of this kind says itself where it ends.
    let section: EhFrame<Slice> = EhFrame::new(unsafe { bytes(start..segment.end) }, LittleEndian);
    let bases = bases.set_eh_frame(start);
    // SAFETY: the header of a module that stays loaded.
    let ours = unsafe { EhFrameHeader::at(module.header) };

    let mut context = UnwindContext::new();
    let mut functions = Vec::new();
    let mut entries = section.entries(&bases);
    while let Some(entry) = entries.next().expect("an entry") {
        let gimli::CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(EhFrame::cie_from_offset).expect("an FDE");
        functions.push(fde.initial_address()..fde.end_address());
        let mut rows = fde.rows(&section, &bases, &mut context).expect("rows");
        while let Some(row) = rows.next_row().expect("a row") {
            let expected = rule_of(row, &section, fde.is_signal_trampoline());
            for address in boundaries(row) {
                let rule = super::compile(ours, address);
                assert_eq!(rule, expected, "{}: {address:#x} of {row:?}", module.name);
                count(seen, rule);
            }
        }
    }
    functions.sort_by_key(|function| function.start);
    for pair in functions.windows(2) {
        if pair[0].end < pair[1].start {
            for address in [pair[0].end, pair[1].start - 1] {
                assert_eq!(super::compile(ours, address), Rule::END, "{}: {address:#x}", module.name);
                seen.gaps += 1;
            }
        }
    }
}

fn boundaries(row: &UnwindTableRow<Offset>) -> Vec<u64> {
    let (start, end) = (row.start_address(), row.end_address());
    if start < end { Vec::from([start, end - 1]) } else { Vec::new() }
}

fn count(seen: &mut Seen, rule: Rule) {
    *match rule.kind() {
        Kind::Plain => &mut seen.plain,
        Kind::Indirect => &mut seen.indirect,
        Kind::Sigreturn => &mut seen.sigreturn,
        Kind::End => &mut seen.end,
        Kind::Complex => &mut seen.complex,
    } += 1;
}

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
