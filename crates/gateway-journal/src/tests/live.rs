//! The journal as its users have it: threads, a real folder, a lock, a bounded capacity.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::{AppendError, Journal, OpenError, Options, SyncMode};

const PATIENCE: Duration = Duration::from_secs(30);

fn small() -> Options {
    Options {
        capacity: 128 << 10,
        segment_bytes: 32 << 10,
        id: [5; 16],
        first_seq: 100,
        ..Options::default()
    }
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, small(), |_| {}).unwrap()
}

/// What a `kill -9` leaves: the folder as the page cache has it at this moment.
fn killed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        match fs::copy(file.path(), copy.path().join(file.file_name())) {
            // A spare that was just finished and renamed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => assert!(copied.is_ok(), "{copied:?}"),
        }
    }
    copy
}

/// The lengths of the files in a folder, but for a spare that is just being renamed.
fn lengths(dir: &Path) -> Vec<u64> {
    let files = fs::read_dir(dir).unwrap();
    let lengths = files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len()));
    lengths.collect()
}

#[test]
fn a_folder_is_open_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let second = Journal::open(dir.path(), small(), |_| {}).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }));
    assert_eq!(
        second.to_string(),
        format!(
            "the journal {} is in use by another process",
            dir.path().display()
        )
    );
    journal.close(PATIENCE).unwrap();
    open(dir.path());
}

#[test]
fn identity_and_sequence_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert!(journal.recovery().created);
    assert_eq!(
        (journal.id(), journal.next_seq(), journal.synced()),
        ([5; 16], 100, 99)
    );
    assert_eq!(journal.append(b"one".to_vec(), SyncMode::Lazy), Ok(100));
    journal.close(PATIENCE).unwrap();
    assert_eq!(journal.synced(), 100);
    assert_eq!(journal.read_at(100).unwrap(), b"one");
    drop(journal);
    let other = Options {
        id: [6; 16],
        first_seq: 7,
        ..small()
    };
    let journal = Journal::open(dir.path(), other, |_| {}).unwrap();
    assert_eq!((journal.id(), journal.next_seq()), ([5; 16], 101));
    let recovery = journal.recovery();
    assert_eq!(
        (recovery.created, recovery.first_seq, recovery.next_seq),
        (false, 100, 101)
    );
    assert_eq!(journal.read_at(100).unwrap(), b"one");
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("deep").join("journal");
    let _journal = open(&folder);
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for file in fs::read_dir(&folder).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn what_was_written_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for n in 0..20_u8 {
        journal.append(vec![n; 500], SyncMode::Lazy).unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while journal.written() < 119 {
        assert!(Instant::now() < deadline, "nobody writes lazy entries");
        std::thread::yield_now();
    }
    assert_eq!(journal.status().syncs, 0, "nobody asked for one");
    let copy = killed(dir.path());
    let found = open(copy.path());
    assert_eq!(found.next_seq(), 120);
    for n in 0..20_u8 {
        assert_eq!(found.read_at(100 + u64::from(n)).unwrap(), vec![n; 500]);
    }
}

#[test]
fn kills_while_segments_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for n in 0..300_u64 {
        let seq = journal
            .append(n.to_le_bytes().repeat(200), SyncMode::Now)
            .unwrap();
        assert!(journal.wait_synced(seq, PATIENCE));
        journal.trim(seq.saturating_sub(5));
        if n % 20 == 0 {
            let copy = killed(dir.path());
            let found = open(copy.path());
            assert_eq!(found.next_seq(), seq + 1);
            assert_eq!(found.read_at(seq).unwrap(), n.to_le_bytes().repeat(200));
        }
    }
    let files = fs::read_dir(dir.path()).unwrap().count();
    assert!(files <= 6, "{files} files for a few live entries");
}

#[test]
fn many_threads_append_and_one_reads() {
    const THREADS: u64 = 8;
    const EACH: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let synced = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&synced);
    let options = Options {
        capacity: 8 << 20,
        segment_bytes: 64 << 10,
        ..Options::default()
    };
    let journal = Journal::open(dir.path(), options, move |progress| {
        let before = seen.swap(progress.synced, Ordering::AcqRel);
        assert!(progress.synced >= before && progress.written >= progress.synced);
    });
    let journal = Arc::new(journal.unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let journal = &journal;
            scope.spawn(move || {
                let mut mine = Vec::new();
                for n in 0..EACH {
                    let sync = if n % 3 == 0 {
                        SyncMode::Now
                    } else {
                        SyncMode::Lazy
                    };
                    let entry = (thread << 32 | n).to_le_bytes().repeat(1 + n as usize % 50);
                    mine.push((journal.append(entry.clone(), sync).unwrap(), entry));
                }
                let (last, _) = mine.last().unwrap();
                journal.sync_now();
                assert!(journal.wait_synced(*last, PATIENCE));
                for (seq, entry) in mine {
                    assert_eq!(journal.read_at(seq).unwrap(), entry);
                }
            });
        }
        scope.spawn(|| {
            let mut reader = journal.reader(1);
            let mut last = [None; THREADS as usize];
            for expected in 1..=THREADS * EACH {
                assert!(journal.wait_synced(expected, PATIENCE));
                let (seq, entry) = reader.next(journal.synced()).unwrap().unwrap();
                assert_eq!(seq, expected);
                let id = u64::from_le_bytes(entry[..8].try_into().unwrap());
                let (thread, n) = ((id >> 32) as usize, id & 0xffff_ffff);
                assert_eq!(
                    last[thread].map_or(0, |last: u64| last + 1),
                    n,
                    "in its own order"
                );
                last[thread] = Some(n);
            }
        });
    });
    journal.close(PATIENCE).unwrap();
    assert_eq!(journal.queued_bytes(), 0);
    assert_eq!(synced.load(Ordering::Acquire), THREADS * EACH);
}

#[test]
fn a_full_journal_refuses_until_it_is_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut last = 0;
    let refusal = loop {
        match journal.append(vec![1; 4_000], SyncMode::Now) {
            Ok(seq) => {
                last = seq;
                assert!(journal.wait_synced(seq, PATIENCE));
            }
            Err(error) => break error,
        }
    };
    assert_eq!(refusal, AppendError::Full);
    assert!(
        (20..=32).contains(&(last - 99)),
        "{} entries of 4,000 in 128 KiB",
        last - 99
    );
    let forced = journal.force_append(vec![2; 4_000], SyncMode::Now).unwrap();
    assert!(journal.wait_synced(forced, PATIENCE));
    assert_eq!(
        journal.append(vec![1; 4_000], SyncMode::Now),
        Err(AppendError::Full)
    );
    let used = journal.used_bytes();
    journal.trim(forced);
    assert!(journal.used_bytes() < used / 2);
    journal.append(vec![1; 4_000], SyncMode::Now).unwrap();
    assert_eq!(journal.low_water(), forced);
    // Below the mark but in a segment that is still in use, or above it: never garbage.
    assert_eq!(journal.read_at(forced).unwrap(), vec![2; 4_000]);
    assert!(journal.read_at(100).is_err());
}

#[test]
fn an_entry_longer_than_a_segment_gets_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        capacity: 4 << 20,
        segment_bytes: 32 << 10,
        ..Options::default()
    };
    let journal = Journal::open(dir.path(), options.clone(), |_| {}).unwrap();
    let limit = journal.max_entry() as usize;
    assert!((1_000_000..1 << 20).contains(&limit), "{limit}");
    assert_eq!(
        journal.append(vec![0; limit + 1], SyncMode::Now),
        Err(AppendError::TooLarge {
            bytes: limit as u64 + 1,
            limit: limit as u64
        })
    );
    let lens = [10, limit, 20, 200_000, 30];
    for len in lens {
        journal
            .append(vec![len as u8; len], SyncMode::Lazy)
            .unwrap();
    }
    let forced = journal
        .force_append(vec![9; limit + 1], SyncMode::Now)
        .unwrap();
    assert!(journal.wait_synced(forced, PATIENCE));
    journal.close(PATIENCE).unwrap();
    drop(journal);
    let journal = Journal::open(dir.path(), options, |_| {}).unwrap();
    let mut reader = journal.reader(1);
    for len in lens.into_iter().chain([limit + 1]) {
        let (_, entry) = reader.next(u64::MAX).unwrap().unwrap();
        assert_eq!(entry.len(), len);
    }
    journal.trim(forced + 1);
    let seq = journal.append(vec![0; 30_000], SyncMode::Now).unwrap();
    assert!(journal.wait_synced(seq, PATIENCE));
    journal.trim(seq);
    let files = lengths(dir.path());
    assert!(
        files.iter().sum::<u64>() < 1 << 20,
        "long segments are removed: {files:?}"
    );
}

#[test]
fn a_new_journal_is_small_and_fills_its_segments_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), Options::default(), |_| {}).unwrap();
    let total = || lengths(dir.path()).into_iter().sum::<u64>();
    assert_eq!(total(), 4 << 20);
    // Past a quarter of it, the next one is made ready, twice as long.
    let seq = journal.append(vec![1; 2 << 20], SyncMode::Now).unwrap();
    assert!(journal.wait_synced(seq, PATIENCE));
    let deadline = Instant::now() + PATIENCE;
    while total() < 12 << 20 {
        assert!(Instant::now() < deadline, "{} bytes", total());
        std::thread::yield_now();
    }
}

#[test]
fn a_close_does_not_wait_for_a_spare_and_leaves_nobody_at_it() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=5 {
        let options = Options {
            segment_bytes: 1 << 30,
            ..Options::default()
        };
        let journal = Journal::open(dir.path(), options, |_| {}).unwrap();
        // Past a quarter, so that a thread begins to prepare the next segment.
        let seq = journal.append(vec![1; 3 << 20], SyncMode::Now).unwrap();
        assert_eq!(seq, round);
        assert!(journal.wait_synced(seq, PATIENCE));
        journal.close(PATIENCE).unwrap();
        let names = fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap().file_name());
        let unfinished = names.filter(|name| name.to_string_lossy().ends_with(".new"));
        assert_eq!(unfinished.count(), 0);
    }
}

#[test]
fn dropping_closes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.append(b"lazy".to_vec(), SyncMode::Lazy).unwrap();
    drop(journal);
    assert_eq!(open(dir.path()).read_at(100).unwrap(), b"lazy");
}

#[test]
fn a_callback_that_panics_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small(), |_| panic!("a bug of the caller's")).unwrap();
    journal.append(b"one".to_vec(), SyncMode::Now).unwrap();
    assert!(!journal.wait_synced(u64::MAX, PATIENCE));
    assert_eq!(
        journal.append(b"two".to_vec(), SyncMode::Now),
        Err(AppendError::Closed)
    );
}
