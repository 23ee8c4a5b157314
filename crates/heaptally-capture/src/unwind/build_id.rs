//! The build id of a loaded module: what tells it from another one with the same layout at the same place.
//!
//! Looked up in the hook for modules that may be unloaded. Linkers put it into the first page of a module, behind the
//! program headers, when the compiler asks for it, as distributions have theirs do. Reads that page and nothing else.

use super::bytes::Bytes;

/// `\x7FELF`, little-endian.
const MAGIC: u32 = 0x464C_457F;
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
const PROGRAM_HEADER_BYTES: usize = 56;
/// As the smallest page is.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A number made of the build id of the module that is mapped from `page`, its first; `None` when it has none there.
pub(crate) fn build_id(page: Bytes<'_>) -> Option<u64> {
    let mut header = page;
    if header.u32()? != MAGIC {
        return None;
    }
    // To the offset of the program headers.
    header.take(28)?;
    let offset = usize::try_from(header.u64()?).ok()?;
    // Over the section headers' offset, flags and three sizes.
    header.take(16)?;
    let count = header.u16()?;
    let mut headers = page;
    headers.take(offset)?;
    for _ in 0..count {
        let mut segment = headers.take(PROGRAM_HEADER_BYTES)?;
        let kind = segment.u32()?;
        segment.u32()?;
        let offset = segment.u64()?;
        // Over two addresses.
        segment.take(16)?;
        let len = segment.u64()?;
        if kind == PT_NOTE
            && let Some(id) = id_in(page, offset, len)
        {
            return Some(id);
        }
    }
    None
}

/// Of the notes of one segment.
fn id_in(page: Bytes<'_>, offset: u64, len: u64) -> Option<u64> {
    let mut rest = page;
    rest.take(usize::try_from(offset).ok()?)?;
    let mut notes = rest.take(usize::try_from(len).ok()?)?;
    loop {
        let (name_len, len, kind) = (notes.u32()? as usize, notes.u32()? as usize, notes.u32()?);
        let mut name = notes.take(name_len.checked_next_multiple_of(4)?)?;
        let mut description = notes.take(len.checked_next_multiple_of(4)?)?;
        if kind == NT_GNU_BUILD_ID && name.u32()? == u32::from_le_bytes(*b"GNU\0") {
            let mut sum = len as u64;
            while let Some(word) = description.u32() {
                sum = (sum.rotate_left(5) ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            }
            return Some(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// A header, one program header for notes at 120, two notes.
    fn page(id: [u8; 20]) -> Vec<u8> {
        let mut page = Vec::from(MAGIC.to_le_bytes());
        page.resize(32, 0);
        page.extend(64_u64.to_le_bytes());
        page.resize(56, 0);
        page.extend([1, 0]);
        page.resize(64, 0);
        page.extend([PT_NOTE, 4].map(u32::to_le_bytes).as_flattened());
        page.extend([120, 0, 0, 16 + 8 + 16 + 20, 0, 4].map(u64::to_le_bytes).as_flattened());
        assert_eq!(page.len(), 120);
        // Another note of the same maker comes first.
        page.extend([4, 8, 5].map(u32::to_le_bytes).as_flattened());
        page.extend(*b"GNU\0 another");
        page.extend([4, 20, NT_GNU_BUILD_ID].map(u32::to_le_bytes).as_flattened());
        page.extend(*b"GNU\0");
        page.extend(id);
        page.resize(PAGE_BYTES, 0);
        page
    }

    #[test]
    fn every_byte_of_an_id_counts() {
        let of = |id| build_id(Bytes::new(&page(id))).expect("an id");
        let mut seen = Vec::from([of([0; 20])]);
        for byte in 0..20 {
            let mut id = [0; 20];
            id[byte] = 1;
            let number = of(id);
            assert!(!seen.contains(&number), "{byte}");
            seen.push(number);
        }
    }

    #[test]
    fn what_lies_beyond_the_page_or_is_no_module_has_none() {
        let whole = page([7; 20]);
        assert!(build_id(Bytes::new(&whole)).is_some());
        for len in 0..180 {
            assert_eq!(build_id(Bytes::new(&whole[..len])), None, "{len}");
        }
        assert_eq!(build_id(Bytes::new(&[0; PAGE_BYTES])), None);
    }
}
