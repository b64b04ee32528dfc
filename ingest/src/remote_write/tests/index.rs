//! Identity of series, and what the index remembers of them.

use proptest::prelude::*;
use prost::Message as _;

use super::{decode, limits, messages};
use crate::remote_write::{
    Reason, Version,
    labels::{self, Identity, identity},
    rules::Rules,
    series_index::{Bounds, DROPPED, NONE, SeriesIndex, Slot},
};

/// So many series, of one metric as many.
fn bounds(series_max: usize) -> Bounds {
    Bounds { series_max, series_per_metric_max: series_max }
}

fn slot_of(index: &SeriesIndex, form: u128) -> u32 {
    index.find_raw(form).0
}

/// Metric, other labels and identity.
type Read = (String, Vec<(String, String)>, Identity);

fn labels_of(pairs: &[(&str, &str)]) -> Result<Read, Reason> {
    let request =
        messages::v1::WriteRequest { timeseries: vec![messages::v1::series(pairs, &[(1, 1.0)])], metadata: Vec::new() };
    let body = request.encode_to_vec();
    let decoded = decode(Version::V1, &body).unwrap();
    match labels::of_series(&decoded, &body, decoded.series[0].labels, &limits().labels, &Rules::default()) {
        Ok(labels) => {
            let labels = labels.expect("nothing is dropped without rules");
            let pairs = labels.pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            Ok((labels.metric.to_string(), pairs, labels.identity))
        }
        Err(reject) => Err(reject.reason),
    }
}

#[test]
fn labels_are_sorted_and_empty_ones_left_out() {
    let (metric, pairs, _) = labels_of(&[("z", "1"), ("gone", ""), ("__name__", "up"), ("A", "2")]).unwrap();
    assert_eq!(metric, "up");
    assert_eq!(pairs, [("A".into(), "2".into()), ("z".into(), "1".into())]);
    assert_eq!(labels_of(&[("__name__", "up"), ("é.\n", "\u{1f600}")]).unwrap().1.len(), 1);
}

#[test]
fn label_sets_that_are_none_are_refused() {
    assert_eq!(labels_of(&[]).unwrap_err(), Reason::NameMissing);
    assert_eq!(labels_of(&[("job", "x")]).unwrap_err(), Reason::NameMissing);
    assert_eq!(labels_of(&[("__name__", "")]).unwrap_err(), Reason::NameMissing);
    assert_eq!(labels_of(&[("__name__", "up"), ("", "x")]).unwrap_err(), Reason::Labels);
    assert_eq!(labels_of(&[("a", "1"), ("__name__", "up"), ("a", "2")]).unwrap_err(), Reason::Labels);
    assert_eq!(labels_of(&[("__name__", "up"), ("__name__", "up")]).unwrap_err(), Reason::Labels);
}

#[test]
fn label_limits_hold() {
    let names: Vec<String> = (0..10_000).map(|n| format!("l{n}")).collect();
    let mut pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    pairs.push(("__name__", "up"));
    assert_eq!(labels_of(&pairs).unwrap_err(), Reason::LabelLimit);
    assert!(labels_of(&pairs[pairs.len() - limits().labels.labels_max..]).is_ok());
    let long = "x".repeat(1 << 20);
    assert_eq!(labels_of(&[("__name__", "up"), ("a", &long)]).unwrap_err(), Reason::LabelLimit);
    assert_eq!(labels_of(&[("__name__", "up"), (&long, "a")]).unwrap_err(), Reason::LabelLimit);
}

#[test]
fn labels_that_are_not_utf8_are_refused() {
    let body = [0x0a, 8, 0x0a, 6, 0x0a, 1, b'a', 0x12, 1, 0xff];
    let decoded = decode(Version::V1, &body).unwrap();
    let read = labels::of_series(&decoded, &body, decoded.series[0].labels, &limits().labels, &Rules::default());
    assert_eq!(read.unwrap_err().text, "label is not UTF-8");
}

#[test]
fn the_identity_of_a_series_never_changes_between_releases() {
    let of = |pairs: &[(&'static str, &'static str)]| identity("up", pairs.iter().copied()).series_id;
    // Stored in every table: a change here orphans all data written before.
    insta::assert_debug_snapshot!([of(&[]), of(&[("instance", "a:1"), ("job", "b")]), of(&[("A", "1"), ("z", "2")])]);
}

proptest! {
    #[test]
    fn the_identity_does_not_depend_on_order(
        pairs in proptest::collection::btree_map("[a-zA-Z_]{1,6}", "[a-z]{1,6}", 0..8),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        pairs.retain(|(name, _)| *name != "__name__");
        let others = pairs.clone();
        pairs.push(("__name__", "m"));
        let by = seed.index(pairs.len());
        pairs.rotate_left(by);
        prop_assert_eq!(labels_of(&pairs).unwrap().2, identity("m", others.into_iter()));
    }
}

fn id(series_id: i64, canonical: u128) -> Identity {
    Identity { series_id, canonical }
}

#[test]
fn a_series_has_one_slot_whatever_its_raw_form() {
    let mut index = SeriesIndex::new(bounds(100), 0);
    let slot = index.enter("up", id(7, 70)).unwrap();
    assert_eq!(index.enter("up", id(7, 70)).unwrap(), slot);
    index.learn(1, slot, 0);
    index.learn(2, slot, 0);
    assert_eq!((slot_of(&index, 1), slot_of(&index, 2), slot_of(&index, 3)), (slot, slot, NONE));
    // Low words alike, high words not.
    assert_eq!(slot_of(&index, 1 + (1 << 64)), NONE);
    assert_eq!(index.len(), 1);
}

#[test]
fn series_are_found_in_any_order_and_in_the_usual_one() {
    let mut index = SeriesIndex::new(bounds(1000), 0);
    let form = |n: u32| u128::from(n) << 64 | u128::from(n * 7 + 1);
    let mut slots = Vec::new();
    for n in 0..100 {
        let slot = index.enter("up", id(i64::from(n), n.into())).unwrap();
        index.learn(form(n), slot, 0);
        slots.push(slot);
    }
    let mut found = Vec::new();
    let orders: [Vec<u32>; 5] = [
        (0..100).collect(),
        (0..100).rev().collect(),
        (0..100).rev().collect(),
        (50..100).chain(0..50).collect(),
        [3, 3, 4, 999, 5, 1000, 6].into(),
    ];
    for order in orders {
        index.find_all(order.iter().map(|n| form(*n)), 0, &mut found);
        let expected: Vec<u32> = order.iter().map(|n| slots.get(*n as usize).copied().unwrap_or(NONE)).collect();
        assert_eq!(found, expected);
    }
    // A stranger in an expected place is not taken for who is expected there.
    index.find_all([form(0), u128::from(u32::MAX)].into_iter(), 0, &mut found);
    assert_eq!(found, [slots[0], NONE]);
    // Two orders that come in turn do not fill the memory.
    for round in 0..1000 {
        let by = round * 37 % 100;
        index.find_all((0..100).map(|n| form((n * by + by) % 100)), 0, &mut found);
    }
}

#[test]
fn a_collision_within_a_metric_is_refused_and_across_metrics_is_none() {
    let mut index = SeriesIndex::new(bounds(100), 0);
    let slot = index.enter("up", id(7, 70)).unwrap();
    assert_eq!(index.enter("up", id(7, 71)).unwrap_err().reason, Reason::Collision);
    assert_ne!(index.enter("down", id(7, 72)).unwrap(), slot);
}

#[test]
fn a_full_index_takes_no_series_and_no_metric() {
    let mut index = SeriesIndex::new(bounds(1), 0);
    index.enter("up", id(1, 1)).unwrap();
    assert_eq!(index.enter("up", id(2, 2)).unwrap_err().reason, Reason::SeriesLimit);
    assert_eq!(index.enter("down", id(3, 3)).unwrap_err().reason, Reason::SeriesLimit);
    assert_eq!(index.find_metric("down"), None);
    assert!(index.enter("up", id(1, 1)).is_ok());
}

#[test]
fn permuted_labels_do_not_fill_the_memory() {
    let mut index = SeriesIndex::new(bounds(100), 0);
    let slot = index.enter("up", id(1, 1)).unwrap();
    for form in 0..1_000_000 {
        index.learn(form, slot, 0);
    }
    assert!(slot_of(&index, 0) == NONE && slot_of(&index, 999_999) == slot);
}

#[test]
fn forgotten_series_leave_nothing_behind() {
    let mut index = SeriesIndex::new(bounds(100), 10);
    let old = index.enter("old", id(1, 1)).unwrap();
    index.slots[old as usize].add_day(10);
    let fresh = index.enter("fresh", id(2, 2)).unwrap();
    index.slots[fresh as usize].add_day(12);
    index.learn(1, old, 0);
    index.learn(2, fresh, 0);
    let mut found = Vec::new();
    index.find_all([1, 2].into_iter(), 0, &mut found);
    assert_eq!(found, [old, fresh]);
    let mut gone = Vec::new();
    index.forget_before(11, |slot| gone.push(slot));
    assert_eq!(gone, [old]);
    assert_eq!((slot_of(&index, 1), slot_of(&index, 2), index.len()), (NONE, fresh, 1));
    assert_eq!((index.find_metric("old"), index.known_from), (None, 11));
    index.find_all([2, 1, 2].into_iter(), 0, &mut found);
    assert_eq!(found, [fresh, NONE, fresh]);
    index.find_all([1, 2].into_iter(), 0, &mut found);
    assert_eq!(found, [NONE, fresh], "the order does not lead to who is gone");
    // Its slot is used again, and nothing of days before the eleventh counts as new.
    let again = index.enter("again", id(3, 3)).unwrap();
    assert_eq!(again, old);
    assert_eq!(index.slots[again as usize].last_ms, 11 * 86_400_000 - 1);
    assert!(!index.slots[again as usize].has_day(10));
}

proptest! {
    #[test]
    fn a_slot_remembers_its_days(days in proptest::collection::vec(20_000i32..20_100, 1..40)) {
        let mut index = SeriesIndex::new(bounds(100), 0);
        let slot = index.enter("up", id(1, 1)).unwrap() as usize;
        for day in &days {
            index.slots[slot].add_day(*day);
        }
        for day in 19_990..20_110 {
            prop_assert_eq!(index.slots[slot].has_day(day), days.contains(&day), "day {}", day);
        }
    }
}

#[test]
fn days_beyond_memory_are_not_claimed() {
    let mut index = SeriesIndex::new(bounds(100), 0);
    let slot = index.enter("up", id(1, 1)).unwrap() as usize;
    let slot = &mut index.slots[slot];
    slot.add_day(20_000);
    slot.add_day(20_200);
    slot.add_day(20_010);
    assert!(slot.has_day(20_200) && !slot.has_day(20_000) && !slot.has_day(20_010));
}

#[test]
fn a_slot_is_one_cache_line() {
    assert_eq!(size_of::<Slot>(), 64);
}

#[test]
fn dropped_forms_are_found_among_the_others_and_do_not_disturb_their_order() {
    let mut index = SeriesIndex::new(bounds(1000), 0);
    let form = |n: u32| u128::from(n) << 64 | u128::from(n * 7 + 1);
    let mut expected = Vec::new();
    for n in 0..100 {
        let slot = if n % 3 == 0 { DROPPED } else { index.enter("up", id(i64::from(n), n.into())).unwrap() };
        index.learn(form(n), slot, 0);
        expected.push(slot);
    }
    let mut found = Vec::new();
    for _ in 0..3 {
        index.find_all((0..100).map(form), 0, &mut found);
        assert_eq!(found, expected);
    }
    // What is dropped is forgotten by day: nothing says that it is still sent.
    index.forget_before(i32::MIN, |_| {});
    index.find_all((0..100).map(form), 0, &mut found);
    let forgotten: Vec<u32> = expected.iter().map(|slot| if *slot == DROPPED { NONE } else { *slot }).collect();
    assert_eq!(found, forgotten);
}

#[test]
fn forms_of_another_origin_are_noticed_whether_they_were_expected_or_not() {
    let mut index = SeriesIndex::new(bounds(1000), 0);
    let slots: Vec<u32> = (0..20).map(|n| index.enter("up", id(n, n.unsigned_abs().into())).unwrap()).collect();
    let form = |n: u128, origin: u128| (n * 2 + origin) << 64 | (n * 2 + origin + 1);
    for origin in [1, 2] {
        for (n, slot) in slots.iter().enumerate() {
            index.learn(form(n as u128, origin.into()), *slot, origin);
        }
    }
    let mut found = Vec::new();
    for _ in 0..3 {
        assert!(!index.find_all((0..20).map(|n| form(n, 1)), 1, &mut found));
        assert_eq!(found, slots, "two forms, one series");
    }
    assert!(index.find_all((0..20).map(|n| form(n, 1)), 2, &mut found));
    let one_stranger = |n: u128| form(n, if n == 7 { 2 } else { 1 });
    for _ in 0..3 {
        assert!(index.find_all((0..20).map(one_stranger), 1, &mut found));
        assert_eq!(found, slots);
    }
    assert!(!index.find_all([form(99, 1)].into_iter(), 1, &mut found), "an unknown form says nothing");
}

#[test]
fn dropped_forms_without_end_do_not_fill_the_memory_nor_push_out_the_others() {
    let mut index = SeriesIndex::new(bounds(100), 0);
    let slot = index.enter("up", id(1, 1)).unwrap();
    index.learn(u128::MAX, slot, 0);
    for form in 0..1_000_000 {
        index.learn(form, DROPPED, 0);
        assert!(index.forms() < 5_000);
    }
    assert_eq!((slot_of(&index, u128::MAX), slot_of(&index, 999_999)), (slot, DROPPED));
}

#[test]
fn a_metric_takes_its_own_series_and_no_more() {
    let mut index = SeriesIndex::new(Bounds { series_max: 100, series_per_metric_max: 2 }, 0);
    let first = index.enter("up", id(1, 1)).unwrap();
    index.enter("up", id(2, 2)).unwrap();
    assert_eq!(index.enter("up", id(3, 3)).unwrap_err().reason, Reason::MetricLimit);
    assert_eq!(index.enter("up", id(1, 1)).unwrap(), first, "a known one is known");
    assert!(index.enter("down", id(3, 3)).is_ok());
    assert!(index.enter_stored("up", id(3, 3)).is_ok(), "what is stored is known whatever the limit");
}
