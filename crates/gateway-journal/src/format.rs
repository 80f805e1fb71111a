//! How segments and entries look on disk. All numbers are little-endian.
//!
//! ```text
//! segment   slot 0   4 KiB   a header, or zeros
//!           slot 1   4 KiB   a header, or zeros; the valid one of the higher generation counts
//!           entries  ...     the first at 8 KiB
//! header    magic 8, version u32, crc u32, journal id 16, generation u64, salt u64,
//!           first seq u64, carries to u64, low water u64, accepted u64, zeros up to 512
//! entry     len u32, crc u32, generation u64, seq u64, synced u64, payload, zeros up to 8 bytes
//! ```
//!
//! The checksum of an entry covers the segment's salt, the rest of its head and the payload. The
//! salt is drawn at random for each use of a segment, so that neither what an earlier use left
//! behind nor bytes that a client made up can pass for an entry.

/// Unit in which a disk may lose or garble what was not synced. A write after a sync begins in a
/// page of its own, so that no synced byte is ever written again.
pub(crate) const PAGE: u64 = 4096;
/// Where the entries of a segment begin.
pub(crate) const ENTRIES_AT: u64 = 2 * PAGE;
/// Bytes of an entry's head.
pub(crate) const ENTRY_HEAD: usize = 32;
/// The format that this library writes.
pub(crate) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"rllmjrnl";
const HEADER_BYTES: usize = 512;
/// Entries begin at multiples of this.
const ENTRY_ALIGN: u64 = 8;

/// The first page boundary at or after `offset`.
pub(crate) fn page_up(offset: u64) -> u64 {
    offset.next_multiple_of(PAGE)
}

/// Bytes that an entry with a payload of `len` bytes takes in a segment.
pub(crate) fn entry_size(len: usize) -> u64 {
    (ENTRY_HEAD as u64 + len as u64).next_multiple_of(ENTRY_ALIGN)
}

/// Where the header of slot 0 or 1 lies.
pub(crate) fn slot_offset(slot: u8) -> u64 {
    u64::from(slot) * PAGE
}

/// What one use of a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The journal that the segment belongs to.
    pub(crate) journal: [u8; 16],
    /// Number of this use; later uses of any segment have higher ones.
    pub(crate) generation: u64,
    /// Enters every checksum of this use.
    pub(crate) salt: u64,
    /// Sequence of the first entry. All before it were durable when this header was written.
    pub(crate) first_seq: u64,
    /// Entries from `first_seq` up to this one are copies of what an older segment holds, or may
    /// hold; from it on, nothing of older segments counts.
    pub(crate) carries_to: u64,
    /// Entries below were not needed any more.
    pub(crate) low_water: u64,
    /// Losses below were seen and accepted.
    pub(crate) accepted: u64,
}

/// What a header's place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing was ever written there.
    Blank,
    /// A header that holds.
    Valid(Header),
    /// A header that holds, of another format version.
    Version(u32),
    /// Bytes that do not hold: a header that was being written when the power went, or damage.
    Broken,
}

impl Header {
    /// The header as one page, so that writing it never reads the page first.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE as usize);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.extend_from_slice(&self.journal);
        for number in [
            self.generation,
            self.salt,
            self.first_seq,
            self.carries_to,
            self.low_water,
            self.accepted,
        ] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        page.resize(HEADER_BYTES, 0);
        let crc = crc32fast::hash(&page);
        page[12..16].copy_from_slice(&crc.to_le_bytes());
        page.resize(PAGE as usize, 0);
        page
    }
}

impl Slot {
    /// Reads a slot; `bytes` may be short where the file ends early.
    pub(crate) fn decode(bytes: &[u8]) -> Slot {
        if bytes.iter().all(|&byte| byte == 0) {
            return Slot::Blank;
        }
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return Slot::Broken;
        };
        let mut unsummed = bytes.to_vec();
        unsummed[12..16].fill(0);
        if bytes[..8] != MAGIC || u32_at(bytes, 12) != crc32fast::hash(&unsummed) {
            return Slot::Broken;
        }
        // The magic, the version and what the checksum covers stay as they are in every version.
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Slot::Version(version);
        }
        Slot::Valid(Header {
            journal: bytes[16..32].try_into().expect("sixteen bytes"),
            generation: u64_at(bytes, 32),
            salt: u64_at(bytes, 40),
            first_seq: u64_at(bytes, 48),
            carries_to: u64_at(bytes, 56),
            low_water: u64_at(bytes, 64),
            accepted: u64_at(bytes, 72),
        })
    }
}

/// The head of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryHead {
    /// Length of the payload in bytes.
    pub(crate) len: u32,
    crc: u32,
    /// The use of the segment that wrote it.
    pub(crate) generation: u64,
    /// Its sequence.
    pub(crate) seq: u64,
    /// The highest sequence that was durable when this entry was written: proof, for recovery,
    /// that what it names was not torn off by a power cut.
    pub(crate) synced: u64,
}

impl EntryHead {
    /// The head for `payload`.
    ///
    /// `payload` must be shorter than 4 GiB.
    pub(crate) fn new(
        salt: u64,
        generation: u64,
        seq: u64,
        synced: u64,
        payload: &[u8],
    ) -> EntryHead {
        let mut head = EntryHead {
            len: u32::try_from(payload.len()).expect("entries are shorter than 4 GiB"),
            crc: 0,
            generation,
            seq,
            synced,
        };
        head.crc = head.checksum(salt, payload);
        head
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> [u8; ENTRY_HEAD] {
        let mut bytes = [0; ENTRY_HEAD];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..].copy_from_slice(&self.synced.to_le_bytes());
        bytes
    }

    /// Reads a head; whether it is one, only [`holds`](EntryHead::holds) can tell.
    pub(crate) fn decode(bytes: &[u8; ENTRY_HEAD]) -> EntryHead {
        EntryHead {
            len: u32_at(bytes, 0),
            crc: u32_at(bytes, 4),
            generation: u64_at(bytes, 8),
            seq: u64_at(bytes, 16),
            synced: u64_at(bytes, 24),
        }
    }

    /// Whether head and payload are as they were written under `salt`.
    pub(crate) fn holds(&self, salt: u64, payload: &[u8]) -> bool {
        payload.len() as u64 == u64::from(self.len) && self.crc == self.checksum(salt, payload)
    }

    fn checksum(&self, salt: u64, payload: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        let mut head = self.encode();
        head[4..8].fill(0);
        sum.update(&salt.to_le_bytes());
        sum.update(&head);
        sum.update(payload);
        sum.finalize()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            journal: *b"0123456789abcdef",
            generation: 7,
            salt: 0xfeed,
            first_seq: 100,
            carries_to: 103,
            low_water: 50,
            accepted: 0,
        }
    }

    #[test]
    fn a_header_comes_back_and_any_changed_byte_breaks_it() {
        let page = header().encode();
        assert_eq!(page.len() as u64, PAGE);
        assert_eq!(Slot::decode(&page), Slot::Valid(header()));
        for at in 0..HEADER_BYTES {
            let mut page = page.clone();
            page[at] ^= 0x10;
            assert_eq!(Slot::decode(&page), Slot::Broken, "byte {at}");
        }
        for cut in 1..HEADER_BYTES {
            assert_eq!(Slot::decode(&page[..cut]), Slot::Broken, "cut at {cut}");
        }
    }

    #[test]
    fn an_unwritten_slot_is_blank() {
        assert_eq!(Slot::decode(&[]), Slot::Blank);
        assert_eq!(Slot::decode(&[0; 100]), Slot::Blank);
        assert_eq!(Slot::decode(&[0; PAGE as usize]), Slot::Blank);
    }

    #[test]
    fn a_header_of_another_version_is_told_from_damage() {
        let mut page = header().encode();
        page[8] = 9;
        page[12..16].fill(0);
        let crc = crc32fast::hash(&page[..HEADER_BYTES]);
        page[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Slot::decode(&page), Slot::Version(9));
    }

    #[test]
    fn an_entry_holds_only_under_its_own_salt_and_numbers() {
        let head = EntryHead::new(1, 2, 3, 2, b"payload");
        assert_eq!(EntryHead::decode(&head.encode()), head);
        assert!(head.holds(1, b"payload"));
        assert!(!head.holds(2, b"payload"));
        assert!(!head.holds(1, b"paYload"));
        assert!(!head.holds(1, b"payloa"));
        for at in 0..ENTRY_HEAD {
            let mut bytes = head.encode();
            bytes[at] ^= 1;
            assert!(!EntryHead::decode(&bytes).holds(1, b"payload"), "byte {at}");
        }
    }

    #[test]
    fn a_zeroed_place_is_no_entry() {
        let head = EntryHead::decode(&[0; ENTRY_HEAD]);
        assert!(!head.holds(77, b""));
    }
}
