//! Batches: whole, once, in order.

use super::Case;
use super::samples::{Sample, Writer, ids};
use crate::batch::Position;
use crate::change::{Change, Scope};
use crate::error::StoreError;
use crate::query::{Feed, Order, SessionTraces};
use crate::store::TraceStore;

pub(super) const CASES: &[(&str, Case)] = &[
    ("a new store is empty", a_new_store_is_empty),
    (
        "a trace comes back as it was written",
        a_trace_comes_back_as_it_was_written,
    ),
    (
        "a batch applied twice counts once",
        a_batch_applied_twice_counts_once,
    ),
    ("a trace id is stored once", a_trace_id_is_stored_once),
    ("the position never goes back", the_position_never_goes_back),
    ("another journal begins anew", another_journal_begins_anew),
    (
        "a replay does not undo a deletion",
        a_replay_does_not_undo_a_deletion,
    ),
    (
        "a batch is applied in its order",
        a_batch_is_applied_in_its_order,
    ),
    (
        "commit times grow though the clock does not",
        commit_times_grow,
    ),
];

fn a_new_store_is_empty(store: &dyn TraceStore) -> Result<(), StoreError> {
    assert_eq!(store.position()?, None);
    assert_eq!(store.last_arrival()?, 0);
    assert_eq!(store.trace("t")?, None);
    assert_eq!(
        store
            .feed(&Feed {
                limit: 10,
                ..Feed::default()
            })?
            .traces,
        []
    );
    assert_eq!(
        store.session_traces(&SessionTraces::all("s", Scope::All))?,
        []
    );
    assert_eq!(store.sampling_params()?, []);
    Ok(())
}

fn a_trace_comes_back_as_it_was_written(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut sample = Sample::new("t", "s/a:1")
        .run("r")
        .harness("h")
        .model("model");
    // Not UTF-8, not JSON: the store keeps bytes.
    sample.call.request = bytes::Bytes::from_static(b"\xff\x00{");
    sample.reply.body = bytes::Bytes::new();
    sample.reply.meta.notes.push("ünïcode \u{1F980}".to_owned());
    let mut writer = Writer::new(store);
    writer.apply([sample.clone().write(7)]);
    let stored = store.trace("t")?.expect("it was stored");
    assert_eq!((stored.call, stored.reply), (sample.call, sample.reply));
    assert_eq!((stored.arrival_seq, stored.created_at), (7, 5000.0));
    assert_eq!(store.last_arrival()?, 7);
    Ok(())
}

fn a_batch_applied_twice_counts_once(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let batch = writer.batch([
        Sample::new("a", "s").write(1),
        Sample::new("b", "s").write(2),
    ]);
    assert_eq!(store.apply(&batch)?.traces, 2);
    let before = store.feed(&Feed {
        limit: 10,
        ..Feed::default()
    })?;
    assert_eq!(store.apply(&batch)?.traces, 0);
    assert_eq!(
        store.feed(&Feed {
            limit: 10,
            ..Feed::default()
        })?,
        before
    );
    assert_eq!(store.position()?, Some(batch.position));
    let session = store.session("s", &Scope::All)?.expect("it has traces");
    assert_eq!((session.trace_count, session.total_count), (2, 2));
    Ok(())
}

fn a_trace_id_is_stored_once(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("a", "s"));
    writer.trace(Sample::new("a", "other").latency(99.0));
    let stored = store.trace("a")?.expect("it was stored");
    assert_eq!(stored.reply.meta.latency_ms, 10.0);
    assert_eq!(store.session("other", &Scope::All)?, None);
    assert_eq!(store.count(&Default::default())?, 1);
    Ok(())
}

fn the_position_never_goes_back(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let first = writer.batch([Sample::new("a", "s").write(1)]);
    let second = writer.batch([Sample::new("b", "s").write(2)]);
    store.apply(&first)?;
    store.apply(&second)?;
    store.apply(&first)?;
    assert_eq!(store.position()?, Some(second.position));
    // A batch that overlaps brings only what is new.
    let mut overlap = second.clone();
    overlap
        .items
        .extend(writer.batch([Sample::new("c", "s").write(3)]).items);
    overlap.position = Position {
        applied: 3,
        replay_from: 2,
        ..second.position
    };
    assert_eq!(store.apply(&overlap)?.traces, 1);
    assert_eq!(store.position()?, Some(overlap.position));
    Ok(())
}

fn another_journal_begins_anew(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("a", "s"));
    writer.trace(Sample::new("b", "s"));
    let mut other = Writer::new(store).with_journal(2);
    other.trace(Sample::new("c", "s"));
    let position = store.position()?.expect("batches were applied");
    assert_eq!((position.journal_id, position.applied), ([2; 16], 1));
    assert_eq!(store.count(&Default::default())?, 3);
    Ok(())
}

fn a_replay_does_not_undo_a_deletion(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let first = writer.batch([Sample::new("a", "s").write(1)]);
    let change = Change::DeleteSessions {
        session_ids: vec!["s".to_owned()],
        scope: Scope::All,
    };
    let second = writer.batch([crate::Write::Change(change)]);
    store.apply(&first)?;
    assert_eq!(store.apply(&second)?.deleted, [(2, 1)]);
    for batch in [&first, &second] {
        store.apply(batch)?;
    }
    assert_eq!(store.trace("a")?, None);
    assert_eq!(store.session("s", &Scope::All)?, None);
    Ok(())
}

fn a_batch_is_applied_in_its_order(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let delete = Change::DeleteSessions {
        session_ids: vec!["s".to_owned()],
        scope: Scope::All,
    };
    let applied = writer.apply([
        Sample::new("a", "s").write(1),
        crate::Write::Change(delete),
        Sample::new("b", "s").write(2),
    ]);
    assert_eq!(applied.deleted, [(2, 1)]);
    assert_eq!(
        ids(&store.session_traces(&SessionTraces::all("s", Scope::All))?),
        ["b"]
    );
    Ok(())
}

fn commit_times_grow(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.apply([
        Sample::new("a", "s").write(1),
        Sample::new("b", "s").write(2),
    ]);
    writer.now = 10.0;
    writer.apply([Sample::new("c", "s").write(3)]);
    writer.delete_session("s", Scope::All);
    writer.now = 20.0;
    writer.apply([
        Sample::new("d", "s").write(4),
        Sample::new("e", "s").write(5),
    ]);
    let feed = Feed {
        order: Order::OldestFirst,
        limit: 10,
        ..Feed::default()
    };
    let traces = store.feed(&feed)?.traces;
    assert_eq!(ids(&traces), ["d", "e"]);
    assert!(
        traces[0].created_at > 5000.0,
        "deleted traces keep their place in time"
    );
    assert!(traces[1].created_at > traces[0].created_at);
    assert!(traces[0].commit_seq > 3 && traces[1].commit_seq > traces[0].commit_seq);
    Ok(())
}
