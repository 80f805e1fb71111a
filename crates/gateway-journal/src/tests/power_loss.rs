//! For any sequence of appends, syncs, trims, failures and cuts, recovery gives all that was synced
//! and a prefix of the rest, and never anything else.

use proptest::prelude::*;

use super::rig::Rig;
use super::sim::{Cut, Noise};

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<usize>, bool),
    /// Keeps so many of the newest entries.
    Trim(u64),
    Spare,
    FailWrites(u32),
    FailSyncs(u32),
    Cut(Cut),
    /// The power goes after so many changes of the disk, wherever that is.
    CutAfter(u64, Cut),
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![
        1 => Just(Cut::Kill),
        2 => (0..40_000_usize).prop_map(Cut::After),
        3 => any::<u64>().prop_map(Cut::Sectors),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![
        20 => 0..300_usize,
        20 => 300..6_000_usize,
        2 => 6_000..24_000_usize,
        1 => 24_000..60_000_usize,
        1 => 130_000..150_000_usize,
    ];
    prop_oneof![
        20 => (prop::collection::vec(len, 1..6), any::<bool>()).prop_map(|(l, s)| Op::Write(l, s)),
        4 => (0..12_u64).prop_map(Op::Trim),
        2 => Just(Op::Spare),
        1 => (1..4_u32).prop_map(Op::FailWrites),
        1 => (1..4_u32).prop_map(Op::FailSyncs),
        3 => cut().prop_map(Op::Cut),
        3 => (0..12_u64, cut()).prop_map(|(changes, cut)| Op::CutAfter(changes, cut)),
    ]
}

fn run(ops: Vec<Op>, cuts: Vec<Cut>) {
    let mut rig = Rig::new();
    let mut how = Cut::Kill;
    for op in ops {
        match op {
            Op::Write(lens, sync) => rig.write(&lens, sync),
            Op::Trim(kept) => rig.trim(rig.next.saturating_sub(kept)),
            Op::Spare => rig.prepare_spare(),
            Op::FailWrites(count) => rig.disk.fail_writes(count),
            Op::FailSyncs(count) => rig.disk.fail_syncs(count),
            Op::Cut(cut) => rig.crash(cut),
            Op::CutAfter(changes, cut) => {
                rig.disk.power_off_after(changes);
                how = cut;
            }
        }
        rig.power_on(how);
    }
    for cut in cuts {
        rig.check(cut);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn recovery_gives_what_was_synced_and_a_prefix_of_the_rest(
        ops in prop::collection::vec(op(), 1..40),
        cuts in prop::collection::vec(cut(), 8),
    ) {
        run(ops, cuts);
    }
}

/// A rig whose segments have all been used before, with something unsynced in hand.
fn in_used_segments(seed: u64) -> Rig {
    let mut rig = Rig::new();
    let mut noise = Noise(seed);
    for _ in 0..30 {
        let lens: Vec<_> = (0..1 + noise.below(4))
            .map(|_| noise.below(3_000) as usize)
            .collect();
        rig.write(&lens, true);
        rig.trim(rig.next - noise.below(6).min(rig.next));
        rig.prepare_spare();
    }
    for _ in 0..1 + noise.below(3) {
        let lens: Vec<_> = (0..1 + noise.below(3))
            .map(|_| noise.below(800) as usize)
            .collect();
        rig.write(&lens, false);
    }
    rig
}

#[test]
fn a_cut_at_any_byte_of_what_was_not_synced() {
    let mut cuts = 0;
    for seed in 0..2 {
        let rig = in_used_segments(seed);
        for bytes in 0..=rig.disk.unsynced_bytes() {
            rig.check(Cut::After(bytes));
            cuts += 1;
        }
    }
    assert!(cuts > 3_000, "{cuts} cuts");
}

#[test]
fn ten_thousand_cuts_with_lost_and_garbled_sectors() {
    for seed in 0..100 {
        let rig = in_used_segments(seed);
        for cut in 0..100 {
            rig.check(Cut::Sectors(seed * 1_000 + cut));
        }
    }
}

#[test]
fn a_cut_at_any_moment_of_the_recovery_from_a_cut() {
    let mut moments = 0;
    for seed in 0..40 {
        let rig = in_used_segments(seed);
        for first in [Cut::Kill, Cut::After(700), Cut::Sectors(seed)] {
            for second in [
                Cut::Kill,
                Cut::After(0),
                Cut::After(5_000),
                Cut::Sectors(seed),
            ] {
                let mut changes = 0;
                while !rig.check_twice(first, changes, second) {
                    changes += 1;
                }
                moments += changes;
            }
        }
    }
    assert!(moments > 1_500, "{moments} moments");
}

#[test]
fn a_spare_whose_name_was_not_durable_when_the_process_was_killed() {
    for seed in 0..50 {
        let mut rig = Rig::new();
        rig.write(&[20_000], true);
        // The spare is made, filled, synced and renamed; then the process is gone.
        rig.disk.power_off_after(4);
        rig.prepare_spare();
        rig.power_on(Cut::Kill);
        rig.write(&[100], true);
        rig.check(Cut::Sectors(seed));
    }
}

#[test]
fn recovery_upon_recovery() {
    for seed in 0..60 {
        let mut rig = in_used_segments(seed);
        for again in 0..4 {
            rig.crash(Cut::Sectors(seed * 7 + again));
            // What the opening wrote was synced, so nothing of it may go.
            rig.crash(Cut::After(0));
        }
        rig.write(&[100, 200], true);
        rig.crash(Cut::Kill);
    }
}
