//! The feed of all traces, its count and its facets.

use gateway_trace::{Outcome, Reply};

use super::Case;
use super::samples::{Sample, Writer, ids};
use crate::error::StoreError;
use crate::query::{Facets, Feed, Order, StoredTrace, TraceFilter};
use crate::store::TraceStore;

pub(super) const CASES: &[(&str, Case)] = &[
    ("each filter of the feed", each_filter_of_the_feed),
    (
        "defect 23: cursors neither skip nor repeat",
        defect_23_cursors_neither_skip_nor_repeat,
    ),
    (
        "a call that ends late comes after the cursor",
        a_call_that_ends_late,
    ),
    (
        "facets are distinct and sorted",
        facets_are_distinct_and_sorted,
    ),
];

fn each_filter_of_the_feed(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(
        Sample::new("a", "s")
            .run("r")
            .model("m1")
            .harness("h")
            .latency(5.0),
    );
    writer.trace(Sample::new("b", "s").run("q").model("m2").latency(10.0));
    writer.trace(
        Sample::new("c", "")
            .run("r")
            .model("m1")
            .outcome(Outcome::Truncated),
    );
    writer.trace(Sample::new("d", "z").model("m2").harness("k").latency(20.5));
    let none = TraceFilter::default;
    let text = |value: &str| Some(value.to_owned());
    let cases = [
        (none(), "a b c d"),
        (
            TraceFilter {
                run_id: text("r"),
                ..none()
            },
            "a c",
        ),
        (
            TraceFilter {
                session_id: text("s"),
                ..none()
            },
            "a b",
        ),
        (
            TraceFilter {
                session_id: text(""),
                ..none()
            },
            "c",
        ),
        (
            TraceFilter {
                model: text("m2"),
                ..none()
            },
            "b d",
        ),
        (
            TraceFilter {
                harness: text("k"),
                ..none()
            },
            "d",
        ),
        (
            TraceFilter {
                has_error: Some(true),
                ..none()
            },
            "c",
        ),
        (
            TraceFilter {
                has_error: Some(false),
                ..none()
            },
            "a b d",
        ),
        (
            TraceFilter {
                latency_min: Some(10.0),
                ..none()
            },
            "b c d",
        ),
        (
            TraceFilter {
                latency_max: Some(10.0),
                ..none()
            },
            "a b c",
        ),
        (
            TraceFilter {
                since: Some(5002.0),
                ..none()
            },
            "c d",
        ),
        (
            TraceFilter {
                until: Some(5002.0),
                ..none()
            },
            "a",
        ),
        (
            TraceFilter {
                since: Some(5001.0),
                until: Some(5004.0),
                ..none()
            },
            "b c",
        ),
        (
            TraceFilter {
                since: Some(5004.0),
                until: Some(5001.0),
                ..none()
            },
            "",
        ),
        (
            TraceFilter {
                run_id: text("r"),
                model: text("m1"),
                has_error: Some(false),
                ..none()
            },
            "a",
        ),
        (
            TraceFilter {
                model: text("M1"),
                ..none()
            },
            "",
        ),
    ];
    for (filter, expected) in cases {
        let count = expected.split_whitespace().count() as u64;
        assert_eq!(store.count(&filter)?, count, "{filter:?}");
        let feed = Feed {
            filter,
            order: Order::OldestFirst,
            limit: 10,
            ..Feed::default()
        };
        let page = store.feed(&feed)?;
        assert_eq!(ids(&page.traces).join(" "), expected, "{feed:?}");
        assert_eq!(page.next_cursor, None);
    }
    Ok(())
}

fn defect_23_cursors_neither_skip_nor_repeat(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let names: Vec<_> = (0..10).map(|n| format!("t{n}")).collect();
    // All of one batch, at one time.
    writer.apply(
        names
            .iter()
            .map(|id| Sample::new(id, "s").write(1))
            .collect::<Vec<_>>(),
    );
    for (order, limit) in [
        (Order::OldestFirst, 3),
        (Order::NewestFirst, 4),
        (Order::NewestFirst, 5),
    ] {
        let mut seen: Vec<StoredTrace> = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.feed(&Feed {
                order,
                limit,
                cursor,
                ..Feed::default()
            })?;
            seen.extend(page.traces);
            if order == Order::NewestFirst && cursor.is_none() {
                // What is written while we page comes before the first page.
                writer.trace(Sample::new(&format!("{limit}"), "s"));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut seen: Vec<_> = ids(&seen)
            .into_iter()
            .filter(|id| id.starts_with('t'))
            .collect();
        if order == Order::NewestFirst {
            seen.reverse();
        }
        assert_eq!(seen, names, "{order:?} {limit}");
    }
    let empty = Feed {
        limit: 0,
        ..Feed::default()
    };
    assert_eq!(store.feed(&empty)?.traces, []);
    Ok(())
}

fn a_call_that_ends_late(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.apply([Sample::new("quick", "s").write(2)]);
    let feed = Feed {
        order: Order::OldestFirst,
        limit: 1,
        ..Feed::default()
    };
    let page = store.feed(&feed)?;
    let seen = page.traces[0].commit_seq;
    // Arrived first, committed last.
    let mut slow = Sample::new("slow", "s");
    slow.reply = Reply::interrupted(None);
    writer.apply([slow.write(1)]);
    let rest = store.feed(&Feed {
        cursor: Some(seen),
        ..feed
    })?;
    assert_eq!(ids(&rest.traces), ["slow"]);
    Ok(())
}

fn facets_are_distinct_and_sorted(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    assert_eq!(store.facets()?, Facets::default());
    writer.trace(Sample::new("a", "s").model("b").run("2").harness("y"));
    writer.trace(Sample::new("b", "s").model("a").run("1"));
    writer.trace(Sample::new("c", "s").model("b").run("2").harness("x"));
    writer.trace(Sample::new("d", "s").model(""));
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    let expected = Facets {
        models: texts(&["a", "b"]),
        harnesses: texts(&["x", "y"]),
        runs: texts(&["1", "2"]),
    };
    assert_eq!(store.facets()?, expected);
    Ok(())
}
