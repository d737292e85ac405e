//! How are TLS integers and vectors read and written? (RFC 5246 section 4; all big-endian)

/// Reads from the front of a slice; `None` as soon as something is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }
    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(head)
    }
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|&[byte]| byte)
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }
    pub(crate) fn u24(&mut self) -> Option<u32> {
        self.array().map(|&[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }
    /// A vector whose length travels in one byte.
    pub(crate) fn vector8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }
    /// A vector whose length travels in two bytes.
    pub(crate) fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }
    /// A vector whose length travels in three bytes.
    pub(crate) fn vector24(&mut self) -> Option<&'a [u8]> {
        let len = self.u24()?;
        self.take(len as usize)
    }
    /// How much is left, bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a vector whose length travels in one byte.
///
/// # Panics
/// If it is longer than 255 bytes: whoever chose the bytes had to bound them.
pub(crate) fn put_vector8(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(u8::try_from(bytes.len()).expect("vector of at most 255 bytes"));
    out.extend_from_slice(bytes);
}

/// Appends a vector whose length travels in two bytes.
///
/// # Panics
/// If it is longer than 65535 bytes: whoever chose the bytes had to bound them.
pub(crate) fn put_vector16(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("vector of at most 65535 bytes");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a vector whose length travels in three bytes.
///
/// # Panics
/// If it is longer than 2^24 - 1 bytes: whoever chose the bytes had to bound them.
pub(crate) fn put_vector24(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u24(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends three bytes.
///
/// # Panics
/// If the number does not fit.
pub(crate) fn put_u24(out: &mut Vec<u8>, number: usize) {
    assert!(number < 1 << 24, "24 bits");
    out.extend_from_slice(&(number as u32).to_be_bytes()[1..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_what_is_there_and_nothing_more() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 3, 2, 9, 8, 0, 1, 7]);
        assert_eq!((reader.u8(), reader.u16(), reader.u24()), (Some(1), Some(2), Some(3)));
        assert_eq!(reader.vector8(), Some(&[9, 8][..]));
        assert!(!reader.is_empty());
        assert_eq!(reader.vector16(), Some(&[7][..]));
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), None);
        assert_eq!(Reader::new(&[3, 1, 2]).vector8(), None);
    }

    #[test]
    fn vectors_carry_their_length() {
        let mut out = Vec::new();
        put_vector8(&mut out, b"ab");
        put_vector16(&mut out, b"c");
        put_vector24(&mut out, b"def");
        assert_eq!(out, b"\x02ab\x00\x01c\x00\x00\x03def");
        assert_eq!(Reader::new(&out[6..]).vector24(), Some(&b"def"[..]));
        assert_eq!(Reader::new(&out[6..11]).vector24(), None);
    }
}
