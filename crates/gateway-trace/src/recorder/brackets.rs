//! Where a JSON text ends that is not kept.

/// The objects and arrays that are open after so much of a JSON text, and whether a string is.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    open: usize,
    in_string: bool,
    after_backslash: bool,
}

impl Brackets {
    /// Takes the next bytes of the text.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' => self.after_backslash = self.in_string,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.open += 1,
                b'}' | b']' => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Whether something is still open.
    pub(super) fn are_open(&self) -> bool {
        self.open > 0
    }
}
