//! From an address to the FDE of its function, through the sorted table that linkers put beside `.eh_frame`.
//!
//! Run in the hook the first time the process meets a call site. Reads the module's own mapped sections, which
//! somebody keeps mapped meanwhile: a frame of the module is on the live stack.
//!
//! Source: Linux Standard Base, "DWARF Extensions" and "Exception Frames".

use super::bytes::Bytes;
use super::cfi::{Cie, Fde};

/// What the table says of an address.
pub(crate) enum Lookup<'a> {
    Found(Fde<'a>),
    /// No function there: the end of the stack.
    Nothing,
    /// The table or the entry is in a form that is not read here.
    Unreadable,
}

/// DW_EH_PE_datarel | DW_EH_PE_sdata4: entries of the table are two signed words of 32 bits, relative to the header.
const SORTED_TABLE: u8 = 0x3B;
const OMIT: u8 = 0xFF;
const ENTRY_BYTES: usize = 8;
/// An FDE with more bytes than this is damaged.
const MAX_ENTRY_BYTES: usize = 1 << 20;

/// A module's `.eh_frame_hdr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EhFrameHeader(u64);

impl EhFrameHeader {
    /// The header at this address.
    ///
    /// # Safety
    ///
    /// It is the mapped `PT_GNU_EH_FRAME` segment of a module that stays loaded while the value is used, and the
    /// loader, the linker and the compiler did their work.
    pub(crate) unsafe fn at(address: u64) -> Self {
        Self(address)
    }

    /// The FDE of the function that `address` lies in.
    pub(crate) fn find(self, address: u64) -> Lookup<'static> {
        let Some((table, entries)) = self.table() else { return Lookup::Unreadable };
        let target = address.wrapping_sub(self.0) as i64;
        // The last entry that begins at or before the address.
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if i64::from(self.entry(table, middle)[0]) <= target { low = middle + 1 } else { high = middle }
        }
        let Some(index) = low.checked_sub(1) else { return Lookup::Nothing };
        let fde_address = self.0.wrapping_add_signed(self.entry(table, index)[1].into());
        // SAFETY: the linker's table points to entries of the same module.
        match unsafe { parse_fde(fde_address) } {
            Some(fde) if address.wrapping_sub(fde.start) < fde.len_bytes => Lookup::Found(fde),
            Some(_) => Lookup::Nothing,
            None => Lookup::Unreadable,
        }
    }

    /// A number that differs, but for ill luck, from that of another module at the same place: of the header, the
    /// first entries and the last ones, which hold addresses of functions.
    pub(crate) fn fingerprint(self) -> u64 {
        const WORDS: u64 = 8;
        let mix = |sum: u64, address: u64| {
            // SAFETY: inside the header or its table; no alignment is assumed.
            let word = unsafe { core::ptr::with_exposed_provenance::<u64>(address as usize).read_unaligned() };
            (sum.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        };
        let Some((table, entries)) = self.table() else { return mix(0, self.0) };
        let ends = (entries as u64).min(WORDS);
        let last = table + (entries as u64 - ends) * ENTRY_BYTES as u64;
        (0..ends).fold(mix(entries as u64, self.0), |sum, index| {
            mix(mix(sum, table + index * ENTRY_BYTES as u64), last + index * ENTRY_BYTES as u64)
        })
    }

    /// A number made of the first words of the entries that the table begins and ends with.
    pub(crate) fn sum_of_entries(self) -> u64 {
        const ENTRIES: usize = 16;
        const WORDS: usize = 32;
        let Some((table, entries)) = self.table() else { return 0 };
        let ends = (0..entries.min(ENTRIES)).chain(entries.saturating_sub(ENTRIES)..entries);
        ends.fold(0, |sum, index| {
            // SAFETY: the linker's table points to entries of the same module.
            let entry = unsafe { entry_at(self.0.wrapping_add_signed(self.entry(table, index)[1].into())) };
            let Some(mut entry) = entry else { return sum };
            let words = core::iter::from_fn(|| entry.u32()).take(WORDS);
            words.fold(sum, |sum: u64, word| (sum.rotate_left(5) ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        })
    }

    /// Address and number of entries of the sorted table.
    fn table(self) -> Option<(u64, usize)> {
        // SAFETY: a header is four bytes and two encoded numbers, and read no further.
        let mut bytes = unsafe { bytes_at(self.0, 20) };
        let version = bytes.u8()?;
        let (frame_encoding, count_encoding, table_encoding) = (bytes.u8()?, bytes.u8()?, bytes.u8()?);
        if version != 1 || count_encoding == OMIT || table_encoding != SORTED_TABLE {
            return None;
        }
        bytes.encoded(frame_encoding)?;
        let entries = bytes.encoded(count_encoding)?;
        Some((bytes.address(), usize::try_from(entries).ok()?))
    }

    /// Start of a function and place of its FDE, relative to the header.
    fn entry(self, table: u64, index: usize) -> [i32; 2] {
        let address = table as usize + index * ENTRY_BYTES;
        // SAFETY: `index` is below the number of entries; no alignment is assumed.
        unsafe { core::ptr::with_exposed_provenance::<[i32; 2]>(address).read_unaligned() }
    }
}

/// # Safety
///
/// An FDE of a loaded module is at the address.
unsafe fn parse_fde(address: u64) -> Option<Fde<'static>> {
    // SAFETY: the caller's; an FDE names its CIE, of the same section.
    unsafe { fde_of(entry_at(address)?, |cie| entry_at(cie)) }
}

/// The FDE whose bytes after the length are given. `entry_at` gives those of its CIE.
pub(crate) fn fde_of<'a>(mut bytes: Bytes<'a>, entry_at: impl FnOnce(u64) -> Option<Bytes<'a>>) -> Option<Fde<'a>> {
    let cie_pointer_place = bytes.address();
    let distance = bytes.u32()?;
    // Zero would be a CIE.
    if distance == 0 {
        return None;
    }
    let cie = cie_of(entry_at(cie_pointer_place.wrapping_sub(distance.into()))?)?;
    let start = bytes.encoded(cie.address_encoding)?;
    let len_bytes = bytes.encoded_value(cie.address_encoding)?;
    if cie.has_augmentation {
        bytes.block()?;
    }
    Some(Fde { cie, start, len_bytes, instructions: bytes })
}

/// The CIE whose bytes after the length are given.
fn cie_of(mut bytes: Bytes<'_>) -> Option<Cie<'_>> {
    if bytes.u32()? != 0 {
        return None;
    }
    let version = bytes.u8()?;
    let augmentation = bytes.c_string()?;
    let code_align = bytes.uleb()?;
    let data_align = bytes.sleb()?;
    let return_address = match version {
        1 => bytes.u8()?.into(),
        3 => bytes.uleb()?,
        _ => return None,
    };
    // The psABI's number of the return address.
    if return_address != 16 {
        return None;
    }
    let mut cie = Cie {
        code_align,
        data_align,
        address_encoding: 0,
        has_augmentation: false,
        is_signal_frame: false,
        instructions: bytes,
    };
    let Some((&first, letters)) = augmentation.split_first() else { return Some(cie) };
    if first != b'z' {
        return None;
    }
    cie.has_augmentation = true;
    let mut data = bytes.block()?;
    cie.instructions = bytes;
    for letter in letters {
        match letter {
            b'R' => cie.address_encoding = data.u8()?,
            b'P' => {
                let encoding = data.u8()?;
                data.encoded_value(encoding & 0x7F)?;
            }
            b'L' => {
                data.u8()?;
            }
            b'S' => cie.is_signal_frame = true,
            _ => return None,
        }
    }
    Some(cie)
}

/// The bytes of a CIE or FDE after its length.
///
/// # Safety
///
/// One is at the address.
unsafe fn entry_at(address: u64) -> Option<Bytes<'static>> {
    // SAFETY: its length comes first.
    let len = unsafe { bytes_at(address, 4) }.u32()? as usize;
    // Zero ends the section, all ones say that the length has 64 bits.
    if len == 0 || len > MAX_ENTRY_BYTES {
        return None;
    }
    // SAFETY: the length is that of the entry.
    Some(unsafe { bytes_at(address.wrapping_add(4), len) })
}

/// # Safety
///
/// `len` readable bytes that nobody writes are at the address while the value is used.
unsafe fn bytes_at(address: u64, len: usize) -> Bytes<'static> {
    let address = core::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the caller's.
    Bytes::new(unsafe { core::slice::from_raw_parts(address, len) })
}
