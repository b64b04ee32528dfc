//! When rules are due, and what their mark tells apart.

use super::{DAY_MS, TrimRule, due};

fn rules(rules: &[(&str, u32)]) -> Vec<TrimRule> {
    rules.iter().map(|(id, days)| TrimRule { id: (*id).into(), days: *days }).collect()
}

/// Rules due at the start of a day so many days after another one, and the mark.
fn at(written: &[(&str, u32)], days: i64) -> (Vec<usize>, u64) {
    due(&rules(written), 100 * DAY_MS, (100 + days) * DAY_MS).map_or((Vec::new(), 0), |due| (due.rules, due.mark))
}

#[test]
fn a_rule_is_due_when_its_days_after_the_day_are_over() {
    let written = [("a", 7), ("b", 2)];
    assert_eq!(due(&rules(&written), 100 * DAY_MS, 103 * DAY_MS - 1), None);
    assert_eq!(at(&written, 3).0, [1]);
    assert_eq!(at(&written, 7).0, [1]);
    assert_eq!(at(&written, 8).0, [0, 1]);
    assert_eq!(at(&[], 1000).0, [0; 0]);
}

#[test]
fn a_mark_stands_for_what_goes_and_for_what_that_spares() {
    let written = [("a", 7), ("b", 2), ("c", 90)];
    let (_, mark) = at(&written, 3);
    assert_eq!(at(&written, 7).1, mark, "nothing new is due");
    assert_ne!(at(&written, 8).1, mark, "what was spared goes");
    assert_eq!(at(&[("a", 30), ("b", 1), ("d", 90)], 3).1, mark, "the same goes, and the same is spared");
    assert_ne!(at(&[("b", 2)], 3).1, mark, "nothing is spared any more");
    assert_ne!(at(&[("a", 7), ("b{}", 2)], 3).1, mark);
    assert_ne!(at(&[("ab", 1)], 3).1, at(&[("a", 1), ("b", 1)], 3).1);
}
