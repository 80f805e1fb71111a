//! Damage to what was durable is told, never passed over; and what is no damage is not taken for
//! it.

use std::path::Path;
use std::sync::Arc;

use super::rig::{Rig, SEGMENT, open, read_all, wanted};
use super::sim::{Cut, SimDisk};
use crate::disk::Disk;
use crate::error::{OpenError, ReadError};
use crate::format::{ENTRIES_AT, PAGE, Slot, slot_offset};
use crate::reader::{Reader, read_one};
use crate::recovery::{Wanted, recover};

/// Three segments full of entries 1.., one entry a page, all durable; closed.
fn three_segments() -> Rig {
    let mut rig = Rig::new();
    for _ in 0..15 {
        rig.write(&[3_000], true);
    }
    assert_eq!(rig.shared.layout().live.len(), 3);
    rig
}

fn place(rig: &Rig, seq: u64) -> (String, u64) {
    let layout = rig.shared.layout();
    let extent = layout.extent(seq).expect("it is there");
    let (at, offset) = extent.place(seq).expect("it is indexed");
    (extent.file.name.clone(), offset + (seq - at) * PAGE)
}

/// Why the journal is refused, and the first and last of what is lost.
fn refused(disk: &SimDisk) -> (String, Vec<(u64, u64)>) {
    let before = disk.after(Cut::Kill).files();
    match open(disk, wanted()) {
        Err(OpenError::Damaged { what, lost, .. }) => {
            assert_eq!(disk.files(), before, "the folder is as it was");
            let lost = lost.into_iter().map(|range| (range.start, range.end - 1));
            (what, lost.collect())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("damage was passed over"),
    }
}

#[test]
fn a_spoilt_entry_in_an_older_segment() {
    let rig = three_segments();
    let (file, offset) = place(&rig, 3);
    rig.disk
        .spoil(&file, |bytes| bytes[offset as usize + 100] ^= 1);
    let (_, lost) = refused(&rig.disk);
    assert_eq!(lost, [(3, 3)]);
}

#[test]
fn a_spoilt_entry_in_the_newest_segment_before_a_later_sync() {
    let rig = three_segments();
    let (file, offset) = place(&rig, 13);
    rig.disk.spoil(&file, |bytes| bytes[offset as usize] ^= 1);
    assert_eq!(refused(&rig.disk).1, [(13, 13)]);
}

#[test]
fn a_missing_file() {
    let rig = three_segments();
    let (file, _) = place(&rig, 7);
    rig.disk.remove(&file).unwrap();
    assert_eq!(refused(&rig.disk).1, [(7, 12)]);
}

#[test]
fn a_missing_first_file() {
    let rig = three_segments();
    let (file, _) = place(&rig, 1);
    rig.disk.remove(&file).unwrap();
    assert_eq!(refused(&rig.disk).1, [(1, 6)]);
}

#[test]
fn an_emptied_file() {
    let rig = three_segments();
    let (file, _) = place(&rig, 7);
    rig.disk.spoil(&file, Vec::clear);
    assert_eq!(refused(&rig.disk).1, [(7, 12)]);
}

#[test]
fn a_spoilt_header() {
    for seq in [1, 7, 13] {
        let rig = three_segments();
        let (file, _) = place(&rig, seq);
        rig.disk.spoil(&file, |bytes| bytes[20] ^= 1);
        let (what, _) = refused(&rig.disk);
        assert!(
            what.contains(&format!("the header of {file} does not hold")),
            "{what}"
        );
    }
}

#[test]
fn a_spoilt_header_of_a_used_segment_does_not_bring_its_earlier_use_back() {
    let mut rig = three_segments();
    rig.trim(16);
    rig.write(&[3_000, 3_000, 3_000, 3_000, 3_000], true);
    let (file, slot) = {
        let layout = rig.shared.layout();
        let newest = layout.live.back().expect("there is one");
        (newest.file.name.clone(), newest.slot)
    };
    assert_eq!(slot, 1, "its second use");
    rig.disk
        .spoil(&file, |bytes| bytes[PAGE as usize + 20] ^= 1);
    let (what, _) = refused(&rig.disk);
    assert!(what.contains("does not hold"), "{what}");
}

#[test]
fn a_segment_of_another_journal() {
    let rig = three_segments();
    let other = SimDisk::default();
    let stranger = Wanted {
        id: [9; 16],
        ..wanted()
    };
    open(&other, stranger).unwrap();
    let (name, len) = other.files()[0].clone();
    let mut bytes = vec![0; len];
    other.open(&name).unwrap().read_at(&mut bytes, 0).unwrap();
    let copy = rig.disk.create("segment-00000099").unwrap();
    copy.write_at(&bytes, 0).unwrap();
    let (what, _) = refused(&rig.disk);
    assert!(what.contains("another journal"), "{what}");
}

#[test]
fn a_segment_of_a_newer_version() {
    let rig = three_segments();
    let (file, _) = place(&rig, 1);
    rig.disk.spoil(&file, |bytes| {
        bytes[8] = 2;
        bytes[12..16].fill(0);
        let crc = crc32fast::hash(&bytes[..512]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let error = open(&rig.disk, wanted()).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Version {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_accepted_loss_is_named_skipped_and_not_asked_about_again() {
    let mut rig = three_segments();
    let (file, offset) = place(&rig, 3);
    rig.disk
        .spoil(&file, |bytes| bytes[offset as usize + 100] ^= 1);
    let (file, _) = place(&rig, 7);
    rig.disk.remove(&file).unwrap();
    let accepting = Wanted {
        accept_loss: true,
        ..wanted()
    };
    let recovered = recover(&rig.disk, Path::new("sim"), accepting).unwrap();
    assert_eq!(recovered.lost, [3..4, 7..13]);
    let (shared, _log) = open(&rig.disk, accepting).unwrap();
    let found: Vec<_> = read_all(&shared, 1)
        .into_iter()
        .map(|(seq, _)| seq)
        .collect();
    assert_eq!(found, [1, 2, 4, 5, 6, 13, 14, 15]);
    assert!(matches!(
        read_one(&shared, 8),
        Err(ReadError::Lost { seq: 8 })
    ));

    let (shared, log) = open(&rig.disk, wanted()).expect("it is known by now");
    assert_eq!(read_all(&shared, 1).len(), 8);
    (rig.shared, rig.log) = (shared, log);
    let (file, offset) = place(&rig, 14);
    rig.disk
        .spoil(&file, |bytes| bytes[offset as usize + 100] ^= 1);
    assert!(refused(&rig.disk).1.contains(&(14, 14)), "another loss is");
}

#[test]
fn an_accepted_header_is_gone_afterwards() {
    let rig = three_segments();
    let (file, _) = place(&rig, 7);
    rig.disk.spoil(&file, |bytes| bytes[20] ^= 1);
    let accepting = Wanted {
        accept_loss: true,
        ..wanted()
    };
    open(&rig.disk, accepting).unwrap();
    open(&rig.disk, wanted()).expect("nothing is left to refuse");
}

#[test]
fn a_torn_header_brings_the_earlier_use_back() {
    let mut rig = three_segments();
    rig.trim(7);
    let used = rig.shared.layout().idle[0].file.name.clone();
    // What a power cut in the middle of the next header leaves.
    rig.disk.spoil(&used, |bytes| {
        bytes[PAGE as usize..PAGE as usize + 700].fill(0xA5);
    });
    let (shared, _) = open(&rig.disk, wanted()).expect("no harm was done");
    assert_eq!(read_all(&shared, 1).len(), 15);
}

#[test]
fn other_files_are_left_alone_and_unfinished_ones_removed() {
    let rig = three_segments();
    for name in [
        "notes.txt",
        "segment-1",
        "segment-0000000x",
        "segment-00000050",
        "lock",
    ] {
        rig.disk.create(name).unwrap();
    }
    let unfinished = rig.disk.create("segment-00000060.new").unwrap();
    unfinished.write_at(&[0xEE; 9_000], 0).unwrap();
    let (shared, _) = open(&rig.disk, wanted()).unwrap();
    assert_eq!(read_all(&shared, 1).len(), 15);
    let names: Vec<_> = rig.disk.files().into_iter().map(|(name, _)| name).collect();
    for name in ["notes.txt", "segment-1", "segment-0000000x", "lock"] {
        assert!(names.iter().any(|other| other == name), "{name}");
    }
    assert!(
        !names.iter().any(|name| name.ends_with(".new")),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name == "segment-00000050"),
        "{names:?}"
    );
}

#[test]
fn entries_of_other_segments_within_a_payload_are_not_found() {
    let mut rig = Rig::new();
    rig.write(&[3_000], true);
    // The whole first segment as one entry, in the next one; then it is torn.
    let (file, _) = place(&rig, 1);
    let mut image = vec![0; SEGMENT as usize];
    let file = rig.disk.open(&file).unwrap();
    let read = file.read_at(&mut image, 0).unwrap();
    image.truncate(read);
    rig.model.insert(2, image.clone());
    rig.next = 3;
    let entry = crate::log::Entry {
        seq: 2,
        payload: image,
    };
    rig.attempt([entry].into(), false);
    for seed in 0..200 {
        rig.check(Cut::Sectors(seed));
    }
}

#[test]
fn a_reader_in_a_segment_that_is_used_again_gets_an_error_and_no_garbage() {
    let mut rig = Rig::new();
    rig.write(&[2_000; 8], true);
    let mut reader = Reader::new(Arc::clone(&rig.shared), 1);
    assert_eq!(reader.next(u64::MAX).unwrap().unwrap().0, 1);
    for _ in 0..40 {
        rig.write(&[2_000; 4], true);
        rig.trim(rig.next);
    }
    // What it has read ahead it may give; then it must see that the rest is gone.
    let error = loop {
        match reader.next(u64::MAX) {
            Ok(Some((seq, entry))) => assert_eq!(rig.model[&seq], entry),
            Ok(None) => panic!("there is more"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Trimmed { .. }), "{error}");
}

#[test]
fn a_reader_never_goes_beyond_its_bound_or_what_is_written() {
    let mut rig = Rig::new();
    rig.write(&[10, 20, 30], false);
    let mut reader = Reader::new(Arc::clone(&rig.shared), 1);
    assert!(reader.next(0).unwrap().is_none());
    assert_eq!(reader.next(1).unwrap().unwrap().0, 1);
    assert!(reader.next(1).unwrap().is_none());
    assert_eq!(reader.next(u64::MAX).unwrap().unwrap().0, 2);
    assert_eq!(reader.next(u64::MAX).unwrap().unwrap().0, 3);
    assert!(reader.next(u64::MAX).unwrap().is_none());
    rig.write(&[40], false);
    assert_eq!(
        reader.next(u64::MAX).unwrap().unwrap(),
        (4, rig.model[&4].clone())
    );
}

#[test]
fn one_entry_is_found_without_reading_those_before_it() {
    let mut rig = Rig::new();
    rig.write(&[100; 200], true);
    let before = rig.disk.reads();
    assert_eq!(read_one(&rig.shared, 190).unwrap(), rig.model[&190]);
    assert!(rig.disk.reads() - before <= 3);
    assert!(matches!(
        read_one(&rig.shared, 201),
        Err(ReadError::NotWritten { seq: 201 })
    ));
}

#[test]
fn a_segment_begins_with_its_header_and_ends_where_it_says() {
    let rig = three_segments();
    for (name, len) in rig.disk.files() {
        assert_eq!(len as u64 % PAGE, 0, "{name}");
        let file = rig.disk.open(&name).unwrap();
        let mut page = vec![0; PAGE as usize];
        file.read_at(&mut page, slot_offset(0)).unwrap();
        assert!(
            matches!(Slot::decode(&page), Slot::Valid(_) | Slot::Blank),
            "{name}"
        );
        assert!(file.length().unwrap() >= ENTRIES_AT.min(PAGE));
    }
}
