use super::{CallCounts, Counters};
use crate::Code;

#[test]
fn what_is_neither_persisted_nor_deleted_is_in_flight() {
    let counters = Counters::default();
    assert_eq!(counters.calls(), CallCounts::default());
    for _ in 0..10 {
        counters.accept();
    }
    counters.persist(6);
    counters.delete(1);
    let expected = CallCounts {
        accepted: 10,
        persisted: 6,
        deleted: 1,
        in_flight: 3,
    };
    assert_eq!(counters.calls(), expected);
}

#[test]
fn the_sum_holds_at_every_moment() {
    let counters = Counters::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for call in 0..20_000 {
                    counters.accept();
                    if call % 7 == 0 {
                        counters.delete(1);
                    } else {
                        counters.persist(1);
                    }
                }
            });
        }
        for _ in 0..20_000 {
            let seen = counters.calls();
            assert_eq!(
                seen.accepted,
                seen.persisted + seen.in_flight + seen.deleted
            );
        }
    });
    assert_eq!(counters.calls().in_flight, 0);
    assert_eq!(counters.calls().accepted, 40_000);
}

#[test]
fn refusals_are_told_apart() {
    let counters = Counters::default();
    counters.refuse(Code::NoRoute);
    counters.refuse(Code::UpstreamTimeout);
    counters.refuse(Code::NoRoute);
    counters.miss_receipt();
    let seen: Vec<_> = counters
        .refusals()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(seen, [(Code::NoRoute, 2), (Code::UpstreamTimeout, 1)]);
    assert_eq!(counters.refusals().count(), Code::ALL.len());
    assert_eq!(counters.receipts_missed(), 1);
}
