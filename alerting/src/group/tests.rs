//! When groups are evaluated, and what they leave behind.

use super::*;
#[test]
fn slots_are_an_interval_apart_and_depend_on_names_alone() {
    let slots = Slots::new("a.yaml", "g", 60_000);
    let slot = slots.at_or_before(1_000_000);
    assert!((940_001..=1_000_000).contains(&slot));
    assert_eq!(
        (slots.at_or_before(slot), slots.at_or_before(slot - 1), slots.after(slot)),
        (slot, slot - 60_000, slot + 60_000)
    );
    assert_eq!(slots, Slots::new("a.yaml", "g", 60_000));
    assert_eq!(slots.at_or_before(-5).rem_euclid(60_000), slot.rem_euclid(60_000));
    assert_eq!((slots.missed(slot, slot + 60_000), slots.missed(slot, slot + 240_000)), (0, 3));
    // A file with another name has, most likely, another place.
    let places: BTreeSet<i64> = (0..50).map(|file| Slots::new(&file.to_string(), "g", 60_000).offset_ms).collect();
    assert!(places.len() > 40);
}
