use super::Counters;
use crate::Code;

#[test]
fn refusals_are_told_apart() {
    let counters = Counters::default();
    counters.refuse(Code::NoRoute);
    counters.refuse(Code::UpstreamTimeout);
    counters.refuse(Code::NoRoute);
    let seen: Vec<_> = counters
        .refusals()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(seen, [(Code::NoRoute, 2), (Code::UpstreamTimeout, 1)]);
    assert_eq!(counters.refusals().count(), Code::ALL.len());
}
