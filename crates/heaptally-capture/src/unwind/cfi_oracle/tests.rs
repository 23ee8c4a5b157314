//! Over every function of the test program and its libraries, over damaged tables, and over what fuzzers have found worth
//! keeping.

use gimli::EhFrameHdr;
use std::ops::Range;
use std::string::String;

use super::super::eh_frame::EhFrameHeader;
use super::*;

#[path = "../../../../../tests/fuzz/src/replay.rs"]
mod replay;

type Slice = EndianSlice<'static, LittleEndian>;

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
                let rule = super::super::compile(ours, address);
                assert_eq!(rule, expected, "{}: {address:#x} of {row:?}", module.name);
                count(seen, rule);
            }
        }
    }
    functions.sort_by_key(|function| function.start);
    for pair in functions.windows(2) {
        if pair[0].end < pair[1].start {
            for address in [pair[0].end, pair[1].start - 1] {
                assert_eq!(super::super::compile(ours, address), Rule::END, "{}: {address:#x}", module.name);
                seen.gaps += 1;
            }
        }
    }
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

/// A CIE and one of its FDEs, copied out of a module, with the zero that ends a section.
struct Copied {
    section: Vec<u8>,
    /// Where the FDE begins.
    fde: usize,
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
        let agreement = compare_table(&section, *fde, &mut context);
        agreed += agreement.agreed;
        complex += agreement.complex;
    }
    std::println!("{} samples, {agreed} rules of damaged tables as gimli has them, {complex} complex", samples.len());
    assert!(agreed > MUTATIONS && complex > 0);
}

#[test]
fn the_corpus_of_the_fuzzer_is_complex_or_read_as_gimli_reads_it() {
    replay::replay("unwind_tables", 200, check_table);
}
