//! A disk in memory that knows what was synced, so that the power can be cut at any moment; and
//! that fails when it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, DiskFile};
use crate::format::PAGE;

/// How the power goes, and with it what was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// Only the process ends: the page cache lives on.
    Kill,
    /// The writes reach the disk in order, up to this many bytes.
    After(usize),
    /// Each sector arrives, or does not, or the page around it is garbled.
    Sectors(u64),
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// What reads give.
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// What was written since the last sync, with the order among all files.
    unsynced: Vec<(u64, u64, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Contents>,
    clock: u64,
    fail_writes: u32,
    fail_syncs: u32,
    full: bool,
    reads: u64,
    /// So many changes more, and the power is off.
    left: Option<u64>,
}

impl State {
    /// Counts a change; an error if the power is off.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    id: usize,
}

/// A small generator of reproducible noise (splitmix64).
#[derive(Debug)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl SimDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next so many writes fail, after half of the bytes.
    pub(crate) fn fail_writes(&self, count: u32) {
        self.lock().fail_writes = count;
    }

    /// The next so many syncs fail, and what they were to sync is lost, although reads still show
    /// it: what Linux does.
    pub(crate) fn fail_syncs(&self, count: u32) {
        self.lock().fail_syncs = count;
    }

    /// After so many changes no more reach the disk.
    pub(crate) fn power_off_after(&self, changes: u64) {
        self.lock().left = Some(changes);
    }

    pub(crate) fn is_off(&self) -> bool {
        self.lock().left == Some(0)
    }

    /// Whether there is room for anything that is not there yet.
    pub(crate) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    pub(crate) fn reads(&self) -> u64 {
        self.lock().reads
    }

    /// Bytes written since the last syncs.
    pub(crate) fn unsynced_bytes(&self) -> usize {
        let state = self.lock();
        let writes = state.files.iter().flat_map(|file| &file.unsynced);
        writes.map(|(_, _, bytes)| bytes.len()).sum()
    }

    /// The file names with their lengths.
    pub(crate) fn files(&self) -> Vec<(String, usize)> {
        let state = self.lock();
        let named = state.names.iter();
        named
            .map(|(name, &id)| (name.clone(), state.files[id].seen.len()))
            .collect()
    }

    /// Changes a file's durable content behind the journal's back.
    pub(crate) fn spoil(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let id = state.names[name];
        let file = &mut state.files[id];
        assert!(file.unsynced.is_empty(), "spoils what is durable");
        change(&mut file.durable);
        file.seen = file.durable.clone();
    }

    /// The disk as it is found afterwards. This one is as it was.
    pub(crate) fn after(&self, cut: Cut) -> SimDisk {
        let state = self.lock();
        let mut noise = Noise(match cut {
            Cut::Kill => 0,
            Cut::After(bytes) => bytes as u64,
            Cut::Sectors(seed) => seed,
        });
        let mut files: Vec<_> = state
            .files
            .iter()
            .map(|file| file.durable.clone())
            .collect();
        let mut writes: Vec<_> = (state.files.iter().enumerate())
            .flat_map(|(id, file)| file.unsynced.iter().map(move |write| (id, write)))
            .collect();
        writes.sort_by_key(|(_, (clock, _, _))| *clock);
        let mut left = match cut {
            Cut::After(bytes) => bytes,
            _ => usize::MAX,
        };
        for (id, (_, offset, bytes)) in writes {
            match cut {
                Cut::Kill | Cut::After(_) => {
                    let taken = bytes.len().min(left);
                    left -= taken;
                    put(&mut files[id], *offset as usize, &bytes[..taken]);
                }
                Cut::Sectors(_) => land(&mut files[id], *offset as usize, bytes, &mut noise),
            }
        }
        let mut names = state.durable_names.clone();
        if let Cut::Kill = cut {
            names = state.names.clone();
        } else {
            // Names that were not synced may have made it all the same.
            for (name, &id) in &state.names {
                if noise.below(2) == 0 {
                    names.retain(|_, &mut other| other != id);
                    names.insert(name.clone(), id);
                }
            }
            for name in state.durable_names.keys() {
                if !state.names.contains_key(name) && noise.below(2) == 0 {
                    names.remove(name);
                }
            }
        }
        let files = if let Cut::Kill = cut {
            state.files.clone()
        } else {
            files
                .into_iter()
                .map(|durable| Contents {
                    seen: durable.clone(),
                    durable,
                    unsynced: Vec::new(),
                })
                .collect()
        };
        SimDisk {
            state: Arc::new(Mutex::new(State {
                durable_names: match cut {
                    Cut::Kill => state.durable_names.clone(),
                    _ => names.clone(),
                },
                names,
                files,
                clock: state.clock,
                ..State::default()
            })),
        }
    }
}

/// What becomes of one write in a power cut.
fn land(file: &mut Vec<u8>, offset: usize, bytes: &[u8], noise: &mut Noise) {
    // Some cuts lose nearly nothing, some nearly all.
    let odds = noise.below(10);
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + 512 - (offset + at) % 512).min(bytes.len());
        match noise.below(20) {
            0 => {
                let page = (offset + at) / PAGE as usize * PAGE as usize;
                put(file, page, &noise.bytes(PAGE as usize));
            }
            other if other / 2 < odds => put(file, offset + at, &bytes[at..end]),
            _ => {}
        }
        at = end;
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if !bytes.is_empty() {
        let end = offset + bytes.len();
        file.resize(file.len().max(end), 0);
        file[offset..end].copy_from_slice(bytes);
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, name.to_owned())
}

fn full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = *self.lock().names.get(name).ok_or_else(|| missing(name))?;
        Ok(Arc::new(SimFile {
            state: Arc::clone(&self.state),
            id,
        }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.change()?;
        if state.full {
            return Err(full());
        }
        let id = state.files.len();
        state.files.push(Contents::default());
        state.names.insert(name.to_owned(), id);
        Ok(Arc::new(SimFile {
            state: Arc::clone(&self.state),
            id,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        let id = state.names.remove(from).ok_or_else(|| missing(from))?;
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        let removed = state.names.remove(name);
        removed.map(|_| ()).ok_or_else(|| missing(name))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().files[self.id].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        state.reads += 1;
        let seen = &state.files[self.id].seen;
        let rest = seen.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.change()?;
        state.clock += 1;
        let clock = state.clock;
        let grows = offset as usize + bytes.len() > state.files[self.id].seen.len();
        let fails = state.fail_writes > 0 || (state.full && grows);
        let bytes = if fails {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        state.fail_writes = state.fail_writes.saturating_sub(1);
        let file = &mut state.files[self.id];
        put(&mut file.seen, offset as usize, bytes);
        file.unsynced.push((clock, offset, bytes.to_vec()));
        match fails {
            true => Err(full()),
            false => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.change()?;
        let fails = state.fail_syncs > 0;
        state.fail_syncs = state.fail_syncs.saturating_sub(1);
        let file = &mut state.files[self.id];
        for (_, offset, bytes) in std::mem::take(&mut file.unsynced) {
            if !fails {
                put(&mut file.durable, offset as usize, &bytes);
            }
        }
        match fails {
            true => Err(io::Error::other("the disk is broken")),
            false => Ok(()),
        }
    }
}
