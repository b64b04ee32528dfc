//! What may happen in the model test, and how often.

use proptest::prelude::*;

use super::faults::{Fault, Request};

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Samples `(series, time)`; those written before go late.
    Append(Vec<(u8, u8)>),
    /// As before, and the same request again, as a sender does that missed the answer.
    AppendTwice(Vec<(u8, u8)>),
    Flush,
    /// Series of a day, and beside them, in the same append, samples.
    Replace {
        day: u8,
        ids: Vec<u8>,
        points: Vec<(u8, u8)>,
    },
    Delete {
        series: u8,
        from: u8,
        to: u8,
    },
    /// Upkeep by hand and a delete at once, whichever comes first.
    DeleteAmidUpkeep {
        series: u8,
        delete_first: bool,
    },
    /// The same with a replacement.
    ReplaceAmidUpkeep {
        day: u8,
        ids: Vec<u8>,
        replace_first: bool,
    },
    Crash,
    PowerCut {
        seed: u64,
    },
    Restart,
    /// What the store does to the next requests of a kind.
    Faults {
        request: Request,
        faults: Vec<Fault>,
    },
    /// The bucket takes no puts, until it does again.
    Outage(bool),
    Zombie,
    /// A second server takes over and merges while the first one is to commit a merge.
    TwoCompactors,
    LostDisk,
    /// Upkeep: by the clock or by hand.
    Upkeep {
        by_hand: bool,
    },
    /// Upkeep by hand, and the process goes when it has come to a point of it.
    UpkeepCrash {
        point: &'static str,
    },
    /// The same at a request to the store, or at a call to the disk.
    UpkeepDeath {
        calls: u8,
    },
    /// A rule takes what was written of a series out of days that are over by so many days; upkeep by hand follows it, perhaps in a
    /// second life only.
    Trim {
        series: u8,
        days: u8,
        calls: Option<u8>,
    },
    Sweep,
    Hours(u8),
    /// A query begins that reads its view from now on.
    Hold,
}

/// Any of them.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let points = || prop::collection::vec((0u8..6, 0u8..40), 1..12);
    prop_oneof![
        6 => points().prop_map(Step::Append),
        2 => points().prop_map(Step::AppendTwice),
        3 => Just(Step::Flush),
        2 => (0u8..3, prop::collection::vec(0u8..9, 0..6), prop::collection::vec((0u8..6, 0u8..40), 0..4))
            .prop_map(|(day, ids, points)| Step::Replace { day, ids, points }),
        2 => (0u8..6, 0u8..40, 0u8..40).prop_map(|(series, from, to)| Step::Delete { series, from, to }),
        1 => (0u8..6, any::<bool>())
            .prop_map(|(series, delete_first)| Step::DeleteAmidUpkeep { series, delete_first }),
        1 => (0u8..3, prop::collection::vec(0u8..9, 0..6), any::<bool>())
            .prop_map(|(day, ids, replace_first)| Step::ReplaceAmidUpkeep { day, ids, replace_first }),
        2 => Just(Step::Crash),
        2 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
        1 => Just(Step::Restart),
        3 => faults(),
        2 => any::<bool>().prop_map(Step::Outage),
        1 => Just(Step::Zombie),
        1 => Just(Step::TwoCompactors),
        1 => Just(Step::LostDisk),
        4 => any::<bool>().prop_map(|by_hand| Step::Upkeep { by_hand }),
        1 => prop_oneof![Just("merge_put"), Just("rewrite_committed"), Just("before_delete"), Just("deleted")]
            .prop_map(|point| Step::UpkeepCrash { point }),
        1 => (0u8..60).prop_map(|calls| Step::UpkeepDeath { calls }),
        1 => (0u8..6, 0u8..2, prop::option::of(0u8..60))
            .prop_map(|(series, days, calls)| Step::Trim { series, days, calls }),
        1 => Just(Step::Sweep),
        // Removed files go after an hour, what nobody names after a day.
        1 => (1u8..30).prop_map(Step::Hours),
        1 => Just(Step::Hold),
    ]
}

fn faults() -> impl Strategy<Value = Step> {
    let status = prop_oneof![Just(409), Just(412), Just(500), Just(503)].prop_map(Fault::Status);
    let late = || (0u8..40).prop_map(Fault::Late);
    let fault = prop_oneof![status, late(), Just(Fault::Timeout), Just(Fault::Reset), Just(Fault::Slow)];
    let asked = prop_oneof![3 => Just(Request::Put), 1 => Just(Request::Read), 1 => Just(Request::Delete)];
    let stale = prop_oneof![3 => (0u8..6).prop_map(Fault::Stale), 1 => Just(Fault::Status(503))];
    prop_oneof![
        5 => (asked, prop::collection::vec(fault, 1..5)),
        2 => (Just(Request::List), prop::collection::vec(stale, 1..4)),
    ]
    .prop_map(|(request, faults)| Step::Faults { request, faults })
}
