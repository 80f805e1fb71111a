//! A disk that refuses: nothing is dropped, the trouble is told, and it is over without a restart.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::rig::{Rig, SEGMENT};
use super::sim::{Cut, SimDisk};
use crate::{AppendError, Journal, Options, Progress, SyncMode};

const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> Options {
    Options {
        capacity: 4 * SEGMENT,
        segment_bytes: SEGMENT,
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> (Journal, Receiver<Progress>) {
    let (tell, told) = mpsc::channel();
    let journal = Journal::open_on(Arc::new(disk.clone()), &options(), move |progress| {
        // Tests that look at the progress keep the receiver.
        let _ = tell.send(progress.clone());
    });
    (journal.expect("the disk works"), told)
}

#[test]
fn a_segment_whose_sync_failed_is_never_synced_again() {
    let mut rig = Rig::new();
    rig.write(&[100], true);
    let before = rig.shared.layout().live.back().unwrap().file.name.clone();
    rig.disk.fail_syncs(1);
    rig.write(&[200, 300], true);
    let layout = rig.shared.layout();
    let [first, second] = [&layout.live[0], &layout.live[1]];
    assert_eq!(first.file.name, before);
    assert!(first.given_up);
    assert_eq!((first.first, first.end), (1, 2));
    assert_eq!((second.first, second.end), (2, 4));
    assert_ne!(second.file.name, before);
    drop(layout);
    // The kernel dropped what it could not write: only the copies count.
    for seed in 0..50 {
        rig.check(Cut::Sectors(seed));
    }
    rig.trim(4);
    for _ in 0..20 {
        rig.write(&[3_000], true);
    }
    rig.trim(rig.next);
    let names: Vec<_> = rig.disk.files().into_iter().map(|(name, _)| name).collect();
    assert!(!names.contains(&before), "it is removed in the end");
}

#[test]
fn a_failing_sync_is_told_and_gets_over() {
    let disk = SimDisk::default();
    let (journal, told) = open(&disk);
    disk.fail_syncs(3);
    let seq = journal.append(vec![1; 1_000], SyncMode::Now).unwrap();
    let failed = told.recv_timeout(PATIENCE).unwrap();
    let failing = failed.failing.expect("the first sync fails");
    assert_eq!((failed.synced, failing.attempts), (0, 1));
    assert!(
        failing.error.contains("the disk is broken"),
        "{}",
        failing.error
    );
    assert!(failing.error.contains("segment-"), "{}", failing.error);

    assert!(journal.wait_synced(seq, PATIENCE));
    let recovered = told
        .iter()
        .find(|progress| progress.failing.is_none())
        .unwrap();
    assert_eq!(recovered.synced, seq);
    let status = journal.status();
    assert!(status.failing.is_none());
    assert_eq!(status.given_up, 3);
    assert!(status.last_error.is_some());
    assert_eq!(journal.queued_bytes(), 0);
    assert_eq!(journal.read_at(seq).unwrap(), vec![1; 1_000]);

    journal.close(PATIENCE).unwrap();
    let (journal, _told) = open(&disk.after(Cut::After(0)));
    assert_eq!(journal.read_at(seq).unwrap(), vec![1; 1_000]);
}

#[test]
fn a_full_disk_keeps_everything_in_memory_until_there_is_room() {
    let disk = SimDisk::default();
    let (journal, told) = open(&disk);
    let first = journal.append(vec![1; 5_000], SyncMode::Now).unwrap();
    assert!(journal.wait_synced(first, PATIENCE));
    disk.set_full(true);
    // More than the segments that are there can take.
    let big: Vec<_> = (0..3)
        .map(|_| journal.force_append(vec![2; 20_000], SyncMode::Now))
        .collect();
    let last = *big.last().unwrap().as_ref().unwrap();
    assert!(told.iter().any(|progress| progress.failing.is_some()));
    assert!(journal.queued_bytes() > 0);
    assert!(journal.synced() < last);
    disk.set_full(false);
    assert!(journal.wait_synced(last, PATIENCE));
    for seq in big {
        assert_eq!(journal.read_at(seq.unwrap()).unwrap(), vec![2; 20_000]);
    }
    journal.close(PATIENCE).unwrap();
}

#[test]
fn lazy_entries_survive_the_failure_of_a_later_sync() {
    let disk = SimDisk::default();
    let (journal, _told) = open(&disk);
    let lazy = journal.append(vec![3; 100], SyncMode::Lazy).unwrap();
    // Written, but not synced.
    let deadline = Instant::now() + PATIENCE;
    while journal.written() < lazy {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    disk.fail_syncs(1);
    let now = journal.append(vec![4; 100], SyncMode::Now).unwrap();
    assert!(journal.wait_synced(now, PATIENCE));
    journal.close(PATIENCE).unwrap();
    let (journal, _told) = open(&disk.after(Cut::After(0)));
    assert_eq!(journal.read_at(lazy).unwrap(), vec![3; 100]);
    assert_eq!(journal.read_at(now).unwrap(), vec![4; 100]);
}

#[test]
fn closing_on_a_broken_disk_says_what_is_not_down() {
    let disk = SimDisk::default();
    let (journal, _told) = open(&disk);
    disk.fail_syncs(u32::MAX);
    journal.append(vec![1; 10], SyncMode::Lazy).unwrap();
    journal.append(vec![2; 10], SyncMode::Lazy).unwrap();
    let error = journal.close(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.entries, 2);
    assert!(error.last_error.unwrap().contains("the disk is broken"));
    assert_eq!(
        journal.append(vec![3; 10], SyncMode::Now),
        Err(AppendError::Closed)
    );
    assert!(
        !journal.wait_synced(2, Duration::from_secs(60)),
        "it will never be"
    );
}

#[test]
fn a_broken_disk_at_the_opening_is_an_error() {
    let disk = SimDisk::default();
    disk.set_full(true);
    let opened = Journal::open_on(Arc::new(disk), &options(), |_| {});
    let error = opened.expect_err("there is no room");
    assert_eq!(
        error.to_string(),
        "cannot make the first segment in the journal (test)"
    );
}

#[test]
fn a_queue_that_is_full_refuses_and_takes_again() {
    let disk = SimDisk::default();
    let options = Options {
        queue_bytes: 10_000,
        capacity: 1 << 20,
        segment_bytes: SEGMENT,
        ..Options::default()
    };
    let journal = Journal::open_on(Arc::new(disk.clone()), &options, |_| {}).unwrap();
    disk.fail_syncs(u32::MAX);
    let mut taken = 0;
    let refusal = loop {
        match journal.append(vec![0; 4_000], SyncMode::Now) {
            Ok(seq) => taken = seq,
            Err(error) => break error,
        }
    };
    assert_eq!((taken, refusal), (2, AppendError::Full));
    let forced = journal.force_append(vec![0; 4_000], SyncMode::Now).unwrap();
    disk.fail_syncs(0);
    assert!(journal.wait_synced(forced, PATIENCE));
    journal.append(vec![0; 4_000], SyncMode::Now).unwrap();
}

/// A callback that waits holds the writer in place, so that a test can say what it finds then.
fn held(disk: &SimDisk) -> (Journal, Arc<Mutex<()>>) {
    let gate = Arc::new(Mutex::new(()));
    let held = Arc::clone(&gate);
    let journal = Journal::open_on(Arc::new(disk.clone()), &options(), move |_| {
        drop(held.lock().unwrap());
    });
    (journal.unwrap(), gate)
}

#[test]
fn what_comes_during_a_sync_goes_as_one_batch() {
    let disk = SimDisk::default();
    let (journal, gate) = held(&disk);
    let busy = gate.lock().unwrap();
    let first = journal.append(vec![0; 10], SyncMode::Now).unwrap();
    assert!(spin(|| journal.synced() >= first));
    for _ in 0..50 {
        journal.append(vec![0; 10], SyncMode::Now).unwrap();
    }
    drop(busy);
    assert!(journal.wait_synced(51, PATIENCE));
    journal.close(PATIENCE).unwrap();
    assert_eq!(journal.status().syncs, 2);
}

fn spin(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}
