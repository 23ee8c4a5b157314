//! Reads over what is inside of brackets in a demangled name: generic arguments, tuples, closures.
//!
//! Pure, allocates nothing; brackets that do not match do no harm.

/// The position of the bracket that closes the one `text` starts with.
pub(super) fn closing(text: &str) -> Option<usize> {
    let mut brackets = Brackets::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at = brackets.step(bytes, at);
        if brackets.depth == 0 {
            return Some(at - 1);
        }
    }
    None
}

/// The first position of an ASCII `pattern` that is inside of no bracket.
pub(super) fn find_outside(text: &str, pattern: &str) -> Option<usize> {
    let mut brackets = Brackets::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if brackets.depth == 0 && bytes[at..].starts_with(pattern.as_bytes()) {
            return Some(at);
        }
        at = brackets.step(bytes, at);
    }
    None
}

/// How many brackets are open while a name is read from left to right.
#[derive(Default)]
struct Brackets {
    depth: usize,
}

impl Brackets {
    /// Reads the byte at `at` and returns where to go on.
    fn step(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b'<' | b'(' | b'[' | b'{' => self.depth += 1,
            // An arrow closes nothing. Legacy mangling has no `-` and prints `fn() .> T`.
            b'>' if at > 0 && matches!(bytes[at - 1], b'-' | b'.') => {}
            b'>' | b')' | b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            // A constant argument such as `'<'`; a lifetime has no quote at its end.
            b'\'' => {
                let content = if bytes.get(at + 1) == Some(&b'\\') { 2 } else { 1 };
                if bytes.get(at + content + 1) == Some(&b'\'') {
                    return at + content + 2;
                }
            }
            _ => {}
        }
        at + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_inside_of_brackets_are_skipped() {
        assert_eq!(find_outside("a<b::c>::d", "::"), Some(7));
        assert_eq!(find_outside("a<(b::c, [d::e; 2])>", "::"), None);
        assert_eq!(find_outside("{closure#0}::b", "::"), Some(11));
        assert_eq!(find_outside("a)>::b", "::"), Some(3));
    }

    #[test]
    fn arrows_and_character_constants_close_and_open_nothing() {
        assert_eq!(find_outside("a<fn(u8) -> T>::b", "::"), Some(14));
        assert_eq!(find_outside("a<fn(u8) .> T>::b", "::"), Some(14));
        assert_eq!(find_outside("a<'>'>::b", "::"), Some(6));
        assert_eq!(find_outside("a<'\\''>::b", "::"), Some(7));
        assert_eq!(find_outside("a<'x, '_, b>::b", "::"), Some(12));
    }

    #[test]
    fn the_bracket_that_closes_is_found() {
        assert_eq!(closing("<a<b>>::c"), Some(5));
        assert_eq!(closing("(a)"), Some(2));
        assert_eq!(closing("<a"), None);
        assert_eq!(closing(""), None);
    }
}
