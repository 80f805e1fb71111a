//! The thread that carries what is on disk in the journal into the store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gateway_journal::{Journal, ReadError, Reader, SyncMode};
use gateway_trace::{Call, Reply};

use super::shared::Shared;
use super::tail::{OpenCall, Tail};
use crate::batch::{Applied, Batch, Item, JournalId, NewTrace, Position, Write};
use crate::change::Change;
use crate::entry::{self, Entry};
use crate::store::TraceStore;

/// A batch is applied when it has so many writes.
const BATCH_ITEMS: usize = 256;
/// Or so many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// The pauses between two attempts grow from one to the other.
const RETRY_DELAY: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// The state of the applier thread.
pub(super) struct Applier {
    shared: Arc<Shared>,
    journal: Arc<Journal>,
    store: Arc<dyn TraceStore>,
    journal_id: JournalId,
    /// An open intent that holds back more than this is carried forward.
    carry_bytes: u64,
    reader: Reader,
    /// An entry that has been read and not been dealt with, because of an I/O error.
    pending: Option<(u64, Bytes)>,
    tail: Tail,
    /// The last entry that was read.
    read: u64,
    /// The store has everything up to here already.
    stored: u64,
    replay: Replay,
}

/// How far what an earlier run has left is dealt with.
enum Replay {
    /// Reading it: it ends before this entry.
    Reading(u64),
    /// Its open calls have been ended, the last one by this entry.
    Ending(u64),
    /// It is in the store.
    Done,
}

/// The applier was told to stop.
struct Stopped;

/// What one entry could not do for now.
type Interruption = ReadError;

impl Applier {
    /// For a store that has got as far as `position` in this journal.
    pub(super) fn new(
        shared: Arc<Shared>,
        journal: Arc<Journal>,
        store: Arc<dyn TraceStore>,
        position: Option<Position>,
        carry_bytes: u64,
    ) -> Self {
        let first = journal.recovery().first_seq;
        let from = position.map_or(first, |position| position.replay_from.max(first));
        // What the last run trimmed may be back: the journal keeps its low-water mark only now and
        // then. It would take up room, and without room no entry comes that has it trimmed again.
        journal.trim(from);
        Self {
            journal_id: journal.id(),
            carry_bytes,
            reader: journal.reader(from),
            pending: None,
            tail: Tail::default(),
            read: from - 1,
            stored: position.map_or(0, |position| position.applied),
            replay: Replay::Reading(journal.recovery().next_seq),
            shared,
            journal,
            store,
        }
    }

    /// Runs until the ledger stops it.
    pub(super) fn run(mut self) {
        let alive = NoteDeath(Arc::clone(&self.shared));
        while let Ok(()) = self.pass() {}
        std::mem::forget(alive);
    }

    /// Reads what has come, applies it, and says so.
    fn pass(&mut self) -> Result<(), Stopped> {
        self.advance_replay();
        if !self.shared.wait_for_work(self.read) {
            return Err(Stopped);
        }
        let items = self.read_batch()?;
        let low_water = self.tail.low_water(self.read + 1);
        let applied = match items.is_empty() {
            true => Applied::default(),
            false => self.apply(&Batch {
                position: Position {
                    journal_id: self.journal_id,
                    applied: self.read,
                    replay_from: low_water,
                },
                at: unix_now(),
                items,
            })?,
        };
        self.journal.trim(low_water);
        self.shared.room.notify_waiters();
        self.advance_replay();
        let replayed = matches!(self.replay, Replay::Done);
        self.shared.publish(self.read, replayed, &applied.deleted);
        self.carry_forward();
        Ok(())
    }

    /// Reads entries until a batch is full, or what is on disk has been read.
    fn read_batch(&mut self) -> Result<Vec<Item>, Stopped> {
        let synced = self.journal.synced();
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut delay = RETRY_DELAY[0];
        while items.len() < BATCH_ITEMS && bytes < BATCH_BYTES {
            match self.read_entry(synced) {
                Ok(None) => {
                    // There is nothing more up to here; what the reader has not shown is lost.
                    self.read = self.read.max(synced);
                    break;
                }
                Ok(Some((item, size))) => {
                    bytes += size;
                    items.extend(item);
                }
                Err(error) => {
                    self.shared
                        .note_store(Some(format!("the journal cannot be read: {error}")));
                    self.pause(&mut delay)?;
                }
            }
        }
        Ok(items)
    }

    /// Reads one entry and gives what it asks of the store. An error leaves it to be read again.
    fn read_entry(&mut self, synced: u64) -> Result<Option<(Option<Item>, usize)>, Interruption> {
        let (seq, bytes) = match self.pending.take() {
            Some(pending) => pending,
            None => match self.reader.next(synced) {
                Ok(None) => return Ok(None),
                Ok(Some((seq, bytes))) => (seq, Bytes::from(bytes)),
                Err(ReadError::Damaged { seq, file }) => {
                    self.give_up(seq, &format!("it is damaged in {file}"));
                    self.reader = self.journal.reader(seq + 1);
                    self.read = seq;
                    return Ok(Some((None, 0)));
                }
                Err(error) => return Err(error),
            },
        };
        let size = bytes.len();
        let write = match Entry::decode(bytes.clone()) {
            Ok(entry) => match self.take(seq, entry, size as u64) {
                Ok(write) => write,
                Err(error) => {
                    self.pending = Some((seq, bytes));
                    return Err(error);
                }
            },
            Err(error) => {
                self.give_up(seq, &error.to_string());
                None
            }
        };
        self.read = seq;
        self.tail.advance(size as u64);
        if seq >= self.journal.recovery().next_seq {
            self.shared.count_read(size as u64);
        }
        Ok(Some((write.map(|write| Item { seq, write }), size)))
    }

    /// Follows an entry. What the store has already only changes which calls are open.
    fn take(&mut self, seq: u64, entry: Entry, size: u64) -> Result<Option<Write>, Interruption> {
        let is_stored = seq <= self.stored;
        Ok(match entry {
            Entry::Intent { arrival, call } => {
                self.tail.opened(seq, arrival, call, size);
                None
            }
            Entry::Partial { trace_id, .. } => {
                self.tail.has_partial(&trace_id, seq);
                None
            }
            Entry::Reply { trace_id, reply } => self.close(&trace_id, is_stored, Some(*reply))?,
            Entry::Interrupted { trace_id } => self.close(&trace_id, is_stored, None)?,
            Entry::Change(change) => {
                if let Change::DeleteSessions { session_ids, scope } = &change {
                    self.tail.deleted(session_ids, scope);
                }
                Some(Write::Change(change)).filter(|_| !is_stored)
            }
            Entry::Whole { .. } if is_stored => None,
            Entry::Whole { call, reply } => self.join(seq, seq, *call, *reply),
        })
    }

    /// The call has ended, with a reply or with what had been journalled of one.
    fn close(
        &mut self,
        trace_id: &str,
        is_stored: bool,
        reply: Option<Reply>,
    ) -> Result<Option<Write>, Interruption> {
        let Some(open) = self.tail.get(trace_id) else {
            // Overtaken by a deletion, or its intent was lost with an older store or journal.
            tracing::debug!(trace_id, "the end of a call that is not known");
            return Ok(None);
        };
        if is_stored || open.overtaken {
            let closed = self.tail.closed(trace_id).filter(|_| !is_stored);
            return Ok(closed.map(|open| Write::Overtaken {
                session_id: open.session_id,
                run_id: open.run_id,
            }));
        }
        // What may fail comes before the call is taken off the table.
        let reply = match reply {
            Some(reply) => Some(reply),
            None => self.received(open)?,
        };
        let reread = match open.call {
            Some(_) => None,
            None => self.request(open.intent)?,
        };
        let open = self.tail.closed(trace_id).expect("it was found above");
        let Some(call) = open.call.or(reread) else {
            return Ok(None);
        };
        let reply = reply.unwrap_or_else(|| Reply::interrupted(None));
        Ok(self.join(open.intent, open.arrival, *call, reply))
    }

    /// The trace of a call of entry `seq`.
    fn join(&self, seq: u64, arrival: u64, call: Call, reply: Reply) -> Option<Write> {
        let derived = catch_unwind(AssertUnwindSafe(|| NewTrace::new(arrival, call, reply)));
        match derived {
            Ok(trace) => Some(Write::Trace(Box::new(trace))),
            Err(_) => {
                self.give_up(seq, "no record can be made of its call");
                None
            }
        }
    }

    /// What had been received of a call, if that was journalled.
    fn received(&self, open: &OpenCall) -> Result<Option<Reply>, Interruption> {
        let Some(seq) = open.partial else {
            return Ok(None);
        };
        match self.reread(seq)? {
            Some(Entry::Partial { reply, .. }) => Ok(Some(Reply::interrupted(Some(*reply)))),
            _ => Ok(None),
        }
    }

    /// The call whose intent stands in entry `seq`.
    fn request(&self, seq: u64) -> Result<Option<Box<Call>>, Interruption> {
        match self.reread(seq)? {
            Some(Entry::Intent { call, .. }) => Ok(Some(call)),
            _ => Ok(None),
        }
    }

    fn reread(&self, seq: u64) -> Result<Option<Entry>, Interruption> {
        match self.journal.read_at(seq) {
            Ok(bytes) => Ok(Entry::decode(Bytes::from(bytes)).ok()),
            Err(error @ ReadError::Io { .. }) => Err(error),
            Err(error) => {
                self.give_up(seq, &error.to_string());
                Ok(None)
            }
        }
    }

    /// Passes over an entry that nothing can be made of, so that it does not block the rest.
    fn give_up(&self, seq: u64, why: &str) {
        self.shared.count_unreadable();
        tracing::error!(seq, why, "a journal entry is passed over");
    }

    /// Applies a batch, however often that must be tried.
    fn apply(&mut self, batch: &Batch) -> Result<Applied, Stopped> {
        let mut delay = RETRY_DELAY[0];
        loop {
            let begun = Instant::now();
            let applied = self.store.apply(batch);
            self.shared.count_apply(begun.elapsed(), applied.is_ok());
            match applied {
                Ok(applied) => {
                    self.shared.note_store(None);
                    self.stored = batch.position.applied;
                    return Ok(applied);
                }
                Err(error) => {
                    tracing::warn!(%error, "the store does not take a batch; trying again");
                    self.shared.note_store(Some(describe(&error)));
                    self.pause(&mut delay)?;
                }
            }
        }
    }

    fn pause(&self, delay: &mut Duration) -> Result<(), Stopped> {
        let goes_on = self.shared.wait_to_retry(*delay);
        *delay = (*delay * 2).min(RETRY_DELAY[1]);
        if goes_on { Ok(()) } else { Err(Stopped) }
    }

    /// Once all that an earlier run has left is read, its open calls are ended, and once that is
    /// applied too, the replay is through.
    fn advance_replay(&mut self) {
        if let Replay::Reading(end) = self.replay
            && self.read + 1 >= end
        {
            let open = self.tail.opened_before(end);
            if !open.is_empty() {
                tracing::info!(
                    calls = open.len(),
                    "calls of an earlier run were interrupted"
                );
            }
            let ended = open.iter().map(|trace_id| {
                let entry = entry::interrupted(trace_id);
                let appended = self.journal.force_append(entry, SyncMode::Now);
                appended.unwrap_or(0)
            });
            self.replay = Replay::Ending(ended.max().unwrap_or(0));
        }
        if let Replay::Ending(last) = self.replay
            && self.read >= last
        {
            self.replay = Replay::Done;
            self.shared.publish(self.read, true, &[]);
        }
    }

    /// Appends once more the intents that hold back too much of the journal.
    ///
    /// What is carried must be open still where it comes to stand: behind the call's end, or a
    /// deletion, it would bring the call back. The calls are held locked for that, as whoever
    /// appends those does.
    fn carry_forward(&mut self) {
        // Where room is short, what holds back less is carried, too.
        let is_short = self.journal.used_bytes() > 2 * self.carry_bytes;
        let held_back = self.carry_bytes / if is_short { 4 } else { 1 };
        for trace_id in self.tail.holding_back(self.carry_bytes, held_back) {
            let Some(open) = self.tail.get(&trace_id) else {
                continue;
            };
            let arrival = open.arrival;
            let Ok(Some(call)) = self.request(open.intent) else {
                continue;
            };
            let entry = entry::intent(&call, Some(arrival));
            let calls = self.shared.calls();
            // Even into a journal without room: this is what makes some.
            if calls.can_be_carried(&trace_id)
                && self.journal.force_append(entry, SyncMode::Now).is_ok()
            {
                self.tail.carried(&trace_id);
            }
        }
    }
}

/// Tells readers and `/ready` when the applier dies of a panic, which it should not.
struct NoteDeath(Arc<Shared>);

impl Drop for NoteDeath {
    fn drop(&mut self) {
        self.0
            .note_store(Some("the applier has stopped: see the log".to_owned()));
    }
}

/// An error and what lies beneath it, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn unix_now() -> f64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0.0, |since| since.as_secs_f64())
}
