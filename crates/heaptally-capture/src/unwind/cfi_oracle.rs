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

use super::bytes::Bytes;
use super::cfi;
use super::eh_frame::{EhFrameHeader, fde_of};
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

/// A CIE and one of its FDEs, copied out of a module, with the zero that ends a section.
struct Copied {
    section: Vec<u8>,
    /// Where the FDE begins.
    fde: usize,
}

/// The address at which gimli and the compiler are told that a copied section lies; functions are near it.
fn address_of(section: &[u8]) -> u64 {
    section.as_ptr().addr() as u64
}

/// One FDE of each of the tables' shapes: the CIE's bytes, the row count and the length tell shapes apart.
fn samples() -> Vec<Copied> {
    let mut shapes = std::collections::BTreeSet::new();
    let mut samples = Vec::new();
    for module in modules() {
        let bases = BaseAddresses::default().set_eh_frame_hdr(module.header);
        let header = EhFrameHdr::new(module.header_bytes, LittleEndian).parse(&bases, 8).expect("a header");
        let gimli::Pointer::Direct(start) = header.eh_frame_ptr() else { continue };
        let segment = module.segments.iter().find(|segment| segment.contains(&start)).expect("a segment");
        // SAFETY: as in `compare`.
        let all = unsafe { bytes(start..segment.end) };
        let section: EhFrame<Slice> = EhFrame::new(all, LittleEndian);
        let bases = bases.set_eh_frame(start);
        let mut entries = section.entries(&bases);
        while let Some(entry) = entries.next().expect("an entry") {
            let gimli::CieOrFde::Fde(partial) = entry else { continue };
            let fde = partial.parse(EhFrame::cie_from_offset).expect("an FDE");
            let entry = |offset: usize, len: usize| &all[offset..offset + 4 + len];
            let cie_bytes = entry(fde.cie().offset(), fde.cie().entry_len());
            let fde_bytes = entry(fde.offset(), fde.entry_len());
            if !shapes.insert((cie_bytes.to_vec(), fde_bytes.len())) {
                continue;
            }
            let mut section = cie_bytes.to_vec();
            let fde = section.len();
            section.extend_from_slice(fde_bytes);
            // The distance from its own place to the CIE.
            section[fde + 4..fde + 8].copy_from_slice(&(fde as u32 + 4).to_le_bytes());
            section.extend_from_slice(&[0; 4]);
            samples.push(Copied { section, fde });
        }
    }
    samples
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

const MUTATIONS: usize = 30_000;

#[test]
fn damaged_tables_never_panic_and_are_complex_or_read_as_gimli_reads_them() {
    let samples = samples();
    assert!(samples.len() > 20, "{} samples", samples.len());
    let mut context = UnwindContext::new();
    for Copied { section, fde } in &samples {
        assert!(
            rules(section, *fde, &mut context).iter().all(|(ours, theirs)| theirs.is_none_or(|theirs| *ours == theirs))
        );
    }
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit as u64) as usize
    };
    let (mut agreed, mut complex) = (0, 0);
    for _ in 0..MUTATIONS {
        let Copied { section, fde } = &samples[below(samples.len())];
        let mut section = section.clone();
        for _ in 0..1 + below(3) {
            let place = below(section.len());
            section[place] = match below(4) {
                0 => section[place] ^ 1 << below(8),
                1 => section[below(section.len())],
                // The opcodes that compilers do not write, and what is near them.
                2 => below(0x40) as u8,
                _ => below(256) as u8,
            };
        }
        if below(16) == 0 {
            section.truncate(below(section.len()));
        }
        for (ours, theirs) in rules(&section, *fde, &mut context) {
            match (ours.kind(), theirs) {
                (Kind::Complex, _) => complex += 1,
                (_, Some(theirs)) => {
                    assert_eq!(ours, theirs, "{section:x?}");
                    agreed += 1;
                }
                (_, None) => {}
            }
        }
    }
    std::println!("{} samples, {agreed} rules of damaged tables as gimli has them, {complex} complex", samples.len());
    assert!(agreed > MUTATIONS && complex > 0);
}
