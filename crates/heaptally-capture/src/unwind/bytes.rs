//! A cursor over bytes of `.eh_frame`: checked, never panicking, never allocating.
//!
//! Used by the rule compiler in the hook. Every read returns `None` past the end, and what follows is then COMPLEX.

/// The rest of a section, or a part of it. Its address in memory matters: pointers are relative to where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn address(self) -> u64 {
        self.0.as_ptr().addr() as u64
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Option<Self> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Self(taken))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned LEB128 number; `None` when it has more than 64 bits.
    pub(crate) fn uleb(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed LEB128 number; `None` when it has more than 64 bits.
    pub(crate) fn sleb(&mut self) -> Option<i64> {
        let mut value = 0_i64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            value |= i64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let used = shift + 7;
                let unused = u64::BITS.saturating_sub(used);
                return Some(value << unused >> unused);
            }
        }
        None
    }

    /// A length and that many bytes.
    pub(crate) fn block(&mut self) -> Option<Self> {
        let len = self.uleb()?;
        self.take(usize::try_from(len).ok()?)
    }

    /// A zero-terminated string, without the zero.
    pub(crate) fn c_string(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let string = self.take(end)?.0;
        self.u8()?;
        Some(string)
    }

    /// An address in one of the `DW_EH_PE_*` encodings that linkers write: absolute or relative to its own place, in 4
    /// or 8 bytes. `None` for the others.
    pub(crate) fn encoded(&mut self, encoding: u8) -> Option<u64> {
        let place = self.address();
        let value = self.encoded_value(encoding)?;
        match encoding & 0x70 {
            0x00 => Some(value),
            0x10 => Some(place.wrapping_add(value)),
            _ => None,
        }
    }

    /// The number in such an encoding, before anything is added to it. Encodings through a pointer are `None`.
    pub(crate) fn encoded_value(&mut self, encoding: u8) -> Option<u64> {
        match encoding & 0x8F {
            // absptr, udata8, sdata8
            0x00 | 0x04 | 0x0C => self.u64(),
            // udata4
            0x03 => self.u32().map(u64::from),
            // sdata4
            0x0B => self.u32().map(|value| value as i32 as i64 as u64),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_dwarf_standard_read_back() {
        // DWARF 5, tables C.1 and C.2.
        for (bytes, value) in [(&[2_u8][..], 2), (&[0x80, 1], 128), (&[0xB9, 0x64], 12_857)] {
            assert_eq!(Bytes::new(bytes).uleb(), Some(value));
        }
        for (bytes, value) in [(&[2_u8][..], 2), (&[0x7E], -2), (&[0xFF, 0], 127), (&[0x81, 0x7F], -127)] {
            assert_eq!(Bytes::new(bytes).sleb(), Some(value));
        }
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_none() {
        assert_eq!(Bytes::new(&[0x80]).uleb(), None);
        assert_eq!(Bytes::new(&[0xFF; 11]).uleb(), None);
        assert_eq!(Bytes::new(&[0xFF; 11]).sleb(), None);
        assert_eq!(Bytes::new(&[1, 2, 3]).u32(), None);
        assert_eq!(Bytes::new(&[3, 1, 2]).block(), None);
        assert_eq!(Bytes::new(b"zR").c_string(), None);
        // 2^64 - 1 fits, one bit more does not.
        assert_eq!(Bytes::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]).uleb(), Some(u64::MAX));
        assert_eq!(Bytes::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2]).uleb(), None);
    }

    #[test]
    fn relative_addresses_are_relative_to_their_own_place() {
        let bytes = [0xFC, 0xFF, 0xFF, 0xFF];
        let place = (&raw const bytes).addr() as u64;
        assert_eq!(Bytes::new(&bytes).encoded(0x1B), Some(place - 4));
        assert_eq!(Bytes::new(&bytes).encoded(0x03), Some(0xFFFF_FFFC));
        // Indirect, and relative to the text, are not written by today's linkers.
        assert_eq!(Bytes::new(&bytes).encoded(0x9B), None);
        assert_eq!(Bytes::new(&bytes).encoded(0x2B), None);
    }
}
