//! The head in its order: runs, lanes, and what a commit takes.

use super::Head;
use crate::{Lane, test_rows::samples};

fn head(lanes: &[(i64, Lane)]) -> Head {
    let mut head = Head::default();
    for (position, lane) in lanes {
        head.push(samples(&[("up".into(), *position, *position, 0.0)]), *lane, *position, 0);
    }
    head
}

#[test]
fn a_late_run_comes_after_the_in_order_run_it_was_sorted_with() {
    let mut lanes = vec![(1, Lane::InOrder), (2, Lane::Late)];
    lanes.extend((3..400).map(|position| (position, Lane::InOrder)));
    let mut head = head(&lanes);
    let unsorted = head.unsorted().unwrap();
    let runs = unsorted.sort(schemas::samples()).unwrap();
    head.settle(&unsorted, runs);
    let seqs: Vec<(Lane, i64)> = head.rows().iter().map(|rows| (rows.lane, rows.seq)).collect();
    assert_eq!(seqs.len(), 2);
    assert!(seqs[1].0 == Lane::Late && seqs[1].1 > seqs[0].1, "{seqs:?}");
    head.push(samples(&[("up".into(), 2, 2, 1.0)]), Lane::Late, 400, 0);
    assert!(head.rows()[2].seq > seqs[1].1);
}

#[test]
fn a_commit_takes_whole_positions_up_to_its_bound() {
    let mut head = head(&[(1, Lane::InOrder), (1, Lane::Late), (2, Lane::InOrder), (3, Lane::InOrder)]);
    let (rows, position) = head.freeze(1).unwrap();
    assert_eq!((rows.len(), position), (2, 1), "both batches of position 1, though one is enough");
    head.thaw();
    let (rows, position) = head.freeze(usize::MAX).unwrap();
    assert_eq!((rows.len(), position), (2, 3));
    head.thaw();
    assert!(head.freeze(1).is_none() && head.bytes() == 0);
}
