//! The symbol table of an executable or a shared library: addresses to mangled names.
//!
//! Used by the symbolizer on the aggregator thread where debug information has no path for a
//! function, or where there is none. Allocates; reads only the tables, not the whole file. Knows
//! neither where the file is loaded nor how names are mangled.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::str;

use object::NativeEndian;
use object::elf::{FileHeader64, SHN_UNDEF, SHT_DYNSYM, SHT_NOTE, SHT_SYMTAB, STT_FUNC, STT_GNU_IFUNC};
use object::elf::{SectionHeader64, Sym64};
use object::pod::{Pod, slice_from_all_bytes};
use object::read::elf::{FileHeader, SectionHeader};

use super::mappings;

type Header = FileHeader64<NativeEndian>;
type Section = SectionHeader64<NativeEndian>;
type Symbol = Sym64<NativeEndian>;

/// The largest symbol table and string table that are read, each. A program with two million
/// functions stays below it.
const MAX_TABLE_BYTES: u64 = 256 << 20;

/// The functions of one file, sorted by address.
#[derive(Debug)]
pub(crate) struct ElfSymbols {
    functions: Vec<Function>,
    /// Names, each ended by a zero byte.
    strings: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    /// As the file has it, without the load bias.
    address: u64,
    size_bytes: u32,
    /// Where the name begins in the strings.
    name: u32,
}

impl ElfSymbols {
    /// Reads the symbol table of a file, or the table of exported symbols when the full one was
    /// stripped. `None` when the file has neither, is not a native 64-bit ELF file or has tables
    /// above 256 MiB.
    pub(crate) fn read(path: &str) -> Option<Self> {
        let file = File::open(path).ok()?;
        let sections = read_sections(&file)?;
        let sections: &[Section] = table(&sections)?;
        let endian = NativeEndian;
        [SHT_SYMTAB, SHT_DYNSYM]
            .into_iter()
            .filter_map(|kind| sections.iter().find(|section| section.sh_type(endian) == kind))
            .find_map(|section| Self::read_table(&file, sections, section))
    }

    /// The mangled name of the function that contains an address of the file.
    pub(crate) fn name_at(&self, address: u64) -> Option<&str> {
        let next = self.functions.partition_point(|function| function.address <= address);
        let function = self.functions.get(next.checked_sub(1)?)?;
        if address - function.address >= u64::from(function.size_bytes) {
            return None;
        }
        let name = self.strings.get(usize::try_from(function.name).ok()?..)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        str::from_utf8(&name[..end]).ok().filter(|name| !name.is_empty())
    }

    /// `None` for a table without functions, so that the next one is tried.
    fn read_table(file: &File, sections: &[Section], section: &Section) -> Option<Self> {
        let endian = NativeEndian;
        let strings = sections.get(usize::try_from(section.sh_link(endian)).ok()?)?;
        let symbols = read_bytes(file, section.sh_offset(endian), section.sh_size(endian))?;
        let symbols: &[Symbol] = table(&symbols)?;
        let mut functions: Vec<Function> = symbols
            .iter()
            .filter(|symbol| {
                [STT_FUNC, STT_GNU_IFUNC].contains(&symbol.st_type())
                    && symbol.st_shndx.get(endian) != SHN_UNDEF
                    && symbol.st_size.get(endian) > 0
            })
            .map(|symbol| Function {
                address: symbol.st_value.get(endian),
                size_bytes: u32::try_from(symbol.st_size.get(endian)).unwrap_or(u32::MAX),
                name: symbol.st_name.get(endian),
            })
            .collect();
        if functions.is_empty() {
            return None;
        }
        // Of several names for one address the first in the file wins, so that runs agree.
        functions.sort_by_key(|function| function.address);
        functions.dedup_by_key(|function| function.address);
        functions.shrink_to_fit();
        let strings = read_bytes(file, strings.sh_offset(endian), strings.sh_size(endian))?;
        Some(Self { functions, strings })
    }
}

/// The build id of a file, as [`Mapping::build_id`](heaptally_profile::Mapping::build_id) has that of what is loaded; `None`
/// when it has none, or cannot be read.
pub(crate) fn build_id(path: &str) -> Option<String> {
    let file = File::open(path).ok()?;
    let sections = read_sections(&file)?;
    let sections: &[Section] = table(&sections)?;
    let endian = NativeEndian;
    sections.iter().filter(|section| section.sh_type(endian) == SHT_NOTE).find_map(|section| {
        let notes = read_bytes(&file, section.sh_offset(endian), section.sh_size(endian))?;
        mappings::build_id(&notes, if section.sh_addralign(endian) == 8 { 8 } else { 4 })
    })
}

/// The section headers of a native 64-bit ELF file.
fn read_sections(file: &File) -> Option<Vec<u8>> {
    let header = read_bytes(file, 0, size_of::<Header>() as u64)?;
    let header = Header::parse(header.as_slice()).ok()?;
    let endian = header.endian().ok()?;
    if usize::from(header.e_shentsize(endian)) != size_of::<Section>() {
        return None;
    }
    let sections_bytes = u64::from(header.e_shnum(endian)) * size_of::<Section>() as u64;
    read_bytes(file, header.e_shoff(endian), sections_bytes)
}

/// Reads a part of a file that really is in it, so that a damaged header cannot ask for memory.
fn read_bytes(file: &File, offset: u64, length: u64) -> Option<Vec<u8>> {
    let end = offset.checked_add(length)?;
    if length > MAX_TABLE_BYTES || end > file.metadata().ok()?.len() {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn table<T: Pod>(bytes: &[u8]) -> Option<&[T]> {
    slice_from_all_bytes(bytes).ok()
}

#[cfg(test)]
#[allow(unsafe_code, reason = "the tests need addresses of known functions")]
mod tests {
    use super::*;
    use std::env;
    use std::fs;

    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn heaptally_test_symbol(x: u64) -> u64 {
        std::hint::black_box(x).wrapping_mul(3)
    }

    /// The address of a function of this program, and the address its file has for it.
    fn in_file(function: extern "C" fn(u64) -> u64) -> (u64, u64) {
        let mut mappings = crate::engine::mappings::Mappings::default();
        let address = function as usize as u64;
        let mapping = mappings.find(address).unwrap();
        (address, address - mapping.start)
    }

    #[test]
    fn a_function_is_found_anywhere_inside_of_it_and_nowhere_else() {
        let symbols = ElfSymbols::read("/proc/self/exe").unwrap();
        let (_, address) = in_file(heaptally_test_symbol);
        assert_eq!(symbols.name_at(address), Some("heaptally_test_symbol"));
        assert_eq!(symbols.name_at(address + 1), Some("heaptally_test_symbol"));
        assert_ne!(symbols.name_at(address - 1), Some("heaptally_test_symbol"));
        assert_eq!(symbols.name_at(0), None);
        assert_eq!(symbols.name_at(u64::MAX), None);
        assert_eq!(heaptally_test_symbol(2), 6);
    }

    #[test]
    fn a_stripped_library_still_names_what_it_exports() {
        let mut mappings = crate::engine::mappings::Mappings::default();
        // SAFETY: looks up a symbol by its name; no code runs.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getpid".as_ptr()) } as u64;
        let mapping = mappings.find(address).unwrap();
        let symbols = ElfSymbols::read(&mapping.path).unwrap();
        let name = symbols.name_at(address - mapping.start).unwrap();
        assert!(name.ends_with("getpid"), "{name}");
    }

    #[test]
    fn files_that_are_damaged_or_not_elf_give_nothing() {
        let whole = fs::read(env::current_exe().unwrap()).unwrap();
        let path = env::temp_dir().join(format!("heaptally-elf-{}", std::process::id()));
        let read = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            ElfSymbols::read(path.to_str().unwrap()).is_some()
        };
        assert!(read(&whole));
        assert!(!read(b""));
        assert!(!read(b"\x7fELF"));
        assert!(!read(&whole[..whole.len() / 2]));
        assert!(!read(&[0; 4096]));
        let damage = |at: usize, byte: u8| {
            let mut damaged = whole.clone();
            damaged[at..at + 2].fill(byte);
            damaged
        };
        // The class, the position of the section headers, their size and their number.
        for at in [4, 0x2e, 0x3a] {
            assert!(!read(&damage(at, 0xff)), "{at:#x}");
        }
        assert!(!read(&damage(0x3c, 0)));
        fs::remove_file(&path).unwrap();
        assert!(ElfSymbols::read("/nonexistent").is_none());
    }
}
