//! Every entry comes back as it was, and no bytes make a panic.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Entry, change, intent, interrupted, partial, reply, whole};
use crate::change::{Change, Scope};
use crate::contract::Sample;

fn samples() -> Vec<(Vec<u8>, Entry)> {
    let sample = Sample::new("trace", "s").run("r");
    let call = || Box::new(sample.call.clone());
    let the_reply = || Box::new(sample.reply.clone());
    let trace_id = || "trace".to_owned();
    let delete = Change::DeleteSessions {
        session_ids: vec!["s".to_owned()],
        scope: Scope::All,
    };
    let put = Change::PutSession {
        session_id: "s".to_owned(),
        run_id: None,
        metadata: Some(gateway_trace::Json::new(r#"{"a": 1.0e2, "b": "\ud800"}"#).unwrap()),
        sampling_params: None,
        at: 0.1,
    };
    vec![
        (
            intent(&sample.call, None),
            Entry::Intent {
                arrival: None,
                call: call(),
            },
        ),
        (
            intent(&sample.call, Some(7)),
            Entry::Intent {
                arrival: Some(7),
                call: call(),
            },
        ),
        (
            reply("trace", &sample.reply),
            Entry::Reply {
                trace_id: trace_id(),
                reply: the_reply(),
            },
        ),
        (
            partial("trace", &sample.reply),
            Entry::Partial {
                trace_id: trace_id(),
                reply: the_reply(),
            },
        ),
        (
            interrupted("trace"),
            Entry::Interrupted {
                trace_id: trace_id(),
            },
        ),
        (change(&delete), Entry::Change(delete)),
        (change(&put), Entry::Change(put)),
        (
            whole(&sample.call, &sample.reply),
            Entry::Whole {
                call: call(),
                reply: the_reply(),
            },
        ),
    ]
}

#[test]
fn entries_come_back_as_they_were() {
    for (bytes, entry) in samples() {
        assert_eq!(Entry::decode(Bytes::from(bytes)).unwrap(), entry);
    }
}

/// One session each, as earlier gateways wrote them.
#[test]
fn an_earlier_deletion_is_read() {
    let earlier = br#"{"delete_session":{"session_id":"s","scope":{"run":"r"}}}"#;
    let bytes = [&[super::CHANGE, super::VERSION], &earlier[..]].concat();
    let expected = Change::DeleteSessions {
        session_ids: vec!["s".to_owned()],
        scope: Scope::Run("r".to_owned()),
    };
    let entry = Entry::decode(Bytes::from(bytes)).unwrap();
    assert_eq!(entry, Entry::Change(expected));
}

#[test]
fn what_is_cut_off_is_no_entry() {
    for (bytes, entry) in samples() {
        // A body may be of any length, so a cut within it is not noticed here: the journal's
        // checksums see to that.
        let head = match entry {
            Entry::Whole { ref call, .. } => call.request.len() + 20,
            Entry::Intent { .. } | Entry::Reply { .. } | Entry::Partial { .. } => 20,
            _ => bytes.len(),
        };
        for len in 0..head {
            assert!(
                Entry::decode(Bytes::copy_from_slice(&bytes[..len])).is_err(),
                "{entry:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        kind in 0..8u8,
        of in 0..8usize,
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let _ = Entry::decode(Bytes::from([&[kind, 1], &bytes[..]].concat()));
        let mut damaged = samples().swap_remove(of).0;
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        let _ = Entry::decode(Bytes::from(damaged));
    }
}
