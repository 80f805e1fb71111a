//! A journal without threads on a simulated disk, beside a model of what it must keep.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::sim::{Cut, Noise, SimDisk};
use crate::error::OpenError;
use crate::log::{Entry, Log, Shared};
use crate::reader::Reader;
use crate::recovery::{Wanted, recover};

pub(crate) const SEGMENT: u64 = 32 << 10;

pub(crate) fn wanted() -> Wanted {
    Wanted {
        id: [7; 16],
        first_seq: 1,
        segment_bytes: SEGMENT,
        accept_loss: false,
    }
}

/// Opens whatever is on the disk.
pub(crate) fn open(disk: &SimDisk, wanted: Wanted) -> Result<(Arc<Shared>, Log), OpenError> {
    try_open(disk, wanted).map(|opened| opened.expect("the disk works"))
}

/// The same, where the power may go before it is done: then there is no journal.
pub(crate) fn try_open(
    disk: &SimDisk,
    wanted: Wanted,
) -> Result<Option<(Arc<Shared>, Log)>, OpenError> {
    let recovered = recover(disk, Path::new("sim"), wanted)?;
    let shared = Arc::new(Shared::new(
        Arc::new(disk.clone()),
        recovered.layout,
        recovered.synced,
    ));
    let log = Log::start(Arc::clone(&shared), recovered.start);
    Ok(log.ok().map(|log| (shared, log)))
}

/// Everything that can be read from sequence `from` on.
pub(crate) fn read_all(shared: &Arc<Shared>, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut reader = Reader::new(Arc::clone(shared), from);
    std::iter::from_fn(|| reader.next(u64::MAX).expect("what was kept can be read")).collect()
}

pub(crate) struct Rig {
    pub(crate) disk: SimDisk,
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    /// All entries that may still be there.
    pub(crate) model: BTreeMap<u64, Vec<u8>>,
    pub(crate) next: u64,
    low_water: u64,
    noise: Noise,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let disk = SimDisk::default();
        let (shared, log) = open(&disk, wanted()).unwrap();
        Rig {
            disk,
            shared,
            log,
            model: BTreeMap::new(),
            next: 1,
            low_water: 1,
            noise: Noise(1),
        }
    }

    /// Hands one batch over, in as many attempts as it takes.
    pub(crate) fn write(&mut self, lens: &[usize], sync: bool) {
        let mut batch = VecDeque::new();
        for &len in lens {
            let payload = self.noise.bytes(len);
            self.model.insert(self.next, payload.clone());
            batch.push_back(Entry {
                seq: self.next,
                payload,
            });
            self.next += 1;
        }
        self.attempt(batch, sync);
    }

    /// Ends everything if the power is off, and goes on with what is found.
    pub(crate) fn power_on(&mut self, cut: Cut) {
        if self.disk.is_off() {
            self.crash(cut);
        }
    }

    pub(crate) fn attempt(&mut self, mut batch: VecDeque<Entry>, mut sync: bool) {
        for _ in 0..100 {
            let written = self.log.write(std::mem::take(&mut batch));
            if written
                .and_then(|()| if sync { self.log.sync() } else { Ok(()) })
                .is_ok()
            {
                return;
            }
            if self.disk.is_off() {
                return;
            }
            self.log.give_up();
            sync = true;
        }
        panic!("the disk never works");
    }

    pub(crate) fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    pub(crate) fn trim(&mut self, below: u64) {
        self.low_water = self.low_water.max(below.min(self.synced() + 1));
        self.shared.trim(below);
    }

    pub(crate) fn prepare_spare(&mut self) {
        if let Some(spare) = self.log.wanted_spare() {
            // It may fail, and then there is none.
            let _ = spare.prepare(&self.shared);
        }
    }

    /// Checks what would be found after a cut.
    pub(crate) fn check(&self, cut: Cut) -> (SimDisk, Arc<Shared>, Log) {
        self.check_disk(self.disk.after(cut), cut)
    }

    /// Checks what would be found after a cut, a recovery cut short after so many changes, and
    /// another one. Gives whether the recovery came to its end.
    pub(crate) fn check_twice(&self, first: Cut, changes: u64, second: Cut) -> bool {
        let disk = self.disk.after(first);
        disk.power_off_after(changes);
        let opened = try_open(&disk, wanted());
        let done = opened.unwrap_or_else(|error| panic!("{first:?} is taken for damage: {error}"));
        self.check_disk(
            disk.after(second),
            if let Cut::Kill = first { second } else { first },
        );
        done.is_some()
    }

    fn check_disk(&self, disk: SimDisk, cut: Cut) -> (SimDisk, Arc<Shared>, Log) {
        let (shared, log) = open(&disk, wanted())
            .unwrap_or_else(|error| panic!("{cut:?} is taken for damage: {error}"));
        let low_water = shared.layout().low_water;
        assert!(low_water <= self.low_water, "{cut:?}: {low_water}");
        let found = read_all(&shared, low_water);
        let mut next = low_water;
        for (seq, entry) in found {
            assert_eq!(seq, next, "{cut:?}: no gap");
            assert!(
                self.model.get(&seq) == Some(&entry),
                "{cut:?}: {seq} is another"
            );
            next += 1;
        }
        assert!(
            next > self.synced(),
            "{cut:?}: lost {next} to {}",
            self.synced()
        );
        if let Cut::Kill = cut {
            let written = self.shared.written.load(Ordering::Acquire);
            assert!(next > written, "{cut:?}: lost {next} to {written}");
        }
        (disk, shared, log)
    }

    /// Goes on with what is found after a cut.
    pub(crate) fn crash(&mut self, cut: Cut) {
        (self.disk, self.shared, self.log) = self.check(cut);
        self.next = self.synced() + 1;
        self.model.split_off(&self.next);
        self.low_water = self.shared.layout().low_water;
    }
}
