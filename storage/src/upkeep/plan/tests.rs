//! Plans for partitions as they come about.

use std::{collections::BTreeMap, sync::Arc};

use object_store::path::Path;

use super::{DAY_MS, FAN_IN, Plan, WINDOW_MS, When, Work, plans};
use crate::{Bound, DataFile, Lane, TrimRule, delta::action::DAY_RUN};

const TODAY: &str = "2026-11-24";
const TODAY_MS: i64 = 1_795_478_400_000;
const NOON_MS: i64 = TODAY_MS + DAY_MS / 2;

/// A file of `day` whose rows lie in a window of it.
fn file(day: &str, window: i64, seq: i64, level: u8) -> Arc<DataFile> {
    let first_us = (super::day_start_ms(day).unwrap() + window * WINDOW_MS) * 1000;
    let bounds = BTreeMap::from([
        ("ts".to_owned(), (Bound::Int(first_us), Bound::Int(first_us + 1_000_000))),
        ("metric".to_owned(), (Bound::Text("a".into()), Bound::Text("m".into()))),
    ]);
    Arc::new(DataFile {
        path: Path::from(format!("{day}/{seq}.parquet")),
        size: 1000,
        rows: 10,
        partition: Some(day.into()),
        bounds,
        lane: if seq % 2 == 1 { Lane::Late } else { Lane::InOrder },
        seq,
        sorted: true,
        level,
        trimmed: None,
        written_ms: 0,
        known_at: 0,
    })
}

fn at(now_ms: i64, files: &[Arc<DataFile>]) -> Vec<Plan> {
    plans(schemas::samples(), files, When { now_ms, retention_days: 90, rules: &[], now: false })
}

fn by_hand(now_ms: i64, files: &[Arc<DataFile>]) -> Vec<Plan> {
    plans(schemas::samples(), files, When { now_ms, retention_days: 90, rules: &[], now: true })
}

fn seqs(plan: &Plan) -> Vec<i64> {
    plan.files.iter().map(|file| file.seq).collect()
}

#[test]
fn the_fixed_day_is_the_fixed_day() {
    assert_eq!(super::day_start_ms(TODAY), Some(TODAY_MS));
}

#[test]
fn a_window_is_gathered_when_it_is_over() {
    let files =
        [file(TODAY, 4, 2, 0), file(TODAY, 4, 4, 0), file(TODAY, 5, 6, 0), file(TODAY, 5, 8, 0), file(TODAY, 6, 10, 0)];
    assert_eq!(at(TODAY_MS + 5 * WINDOW_MS, &files), []);
    let found = at(TODAY_MS + 5 * WINDOW_MS + 600_000, &files);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].work, seqs(&found[0])), (Work::Gather(Lane::InOrder, 1), vec![2, 4]));
    assert_eq!(at(NOON_MS + 600_000, &files).len(), 2);
    // By hand the open one is gathered, too; a single file is gathered already.
    assert_eq!(by_hand(NOON_MS, &files).len(), 2);
    assert_eq!(by_hand(NOON_MS, &files[4..]), []);
}

#[test]
fn a_fast_stream_is_gathered_early_and_each_level_once() {
    let count = i64::try_from(FAN_IN).unwrap();
    let mut files: Vec<_> = (1..count).map(|n| file(TODAY, 6, 2 * n, 0)).collect();
    files.push(file(TODAY, 6, 100, 1));
    assert_eq!(at(NOON_MS, &files), []);
    files.push(file(TODAY, 6, 102, 0));
    let found = at(NOON_MS, &files);
    assert_eq!(found.len(), 1);
    assert!(found[0].work == Work::Gather(Lane::InOrder, 1) && !seqs(&found[0]).contains(&100));
}

#[test]
fn late_files_gather_apart_while_the_day_lasts_and_go_into_the_run_when_it_is_over() {
    let files =
        [file(TODAY, 1, 2, 0), file(TODAY, 1, 3, 0), file(TODAY, 2, 5, 0), file(TODAY, 3, 7, 0), file(TODAY, 4, 9, 0)];
    let found = at(NOON_MS, &files);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].work, seqs(&found[0])), (Work::Gather(Lane::Late, 1), vec![3, 5, 7, 9]));
    assert_eq!(at(TODAY_MS + DAY_MS + 3_600_000, &files[..2]), []);
    let found = at(TODAY_MS + DAY_MS + 7_200_000, &files);
    assert_eq!((found.len(), found[0].work, seqs(&found[0])), (1, Work::Whole, vec![2, 3, 5, 7, 9]));
}

#[test]
fn what_comes_for_a_merged_day_waits_and_goes_into_the_files_it_overlaps() {
    let yesterday = "2026-11-23";
    let elsewhere = |seq| {
        let mut file = DataFile::clone(&file(yesterday, 0, seq, DAY_RUN));
        file.bounds.insert("metric".into(), (Bound::Text("n".into()), Bound::Text("z".into())));
        Arc::new(file)
    };
    let mut late = DataFile::clone(&file(yesterday, 0, 9, 0));
    late.written_ms = NOON_MS;
    let files = [file(yesterday, 0, 6, DAY_RUN), elsewhere(8), Arc::new(late)];
    assert_eq!(at(NOON_MS, &files), []);
    let found = at(NOON_MS + 3_600_000, &files);
    assert_eq!((found.len(), seqs(&found[0])), (1, vec![6, 9]));
    assert_eq!(by_hand(NOON_MS, &files), found);
    assert_eq!(by_hand(NOON_MS, &files[..2]), [], "what is one run is left alone");
}

#[test]
fn a_partition_goes_when_its_last_row_is_past_its_retention() {
    let old = file("2026-08-25", 0, 2, DAY_RUN);
    assert_eq!(at(TODAY_MS - 1, std::slice::from_ref(&old)), []);
    let found = at(TODAY_MS, std::slice::from_ref(&old));
    assert_eq!((found.len(), found[0].work), (1, Work::Drop));
}

#[test]
fn a_partition_with_a_foreign_file_is_left_alone_until_it_is_dropped() {
    let mut foreign = DataFile::clone(&file("2026-11-20", 0, 5, 0));
    foreign.sorted = false;
    let files = [file("2026-11-20", 0, 2, 0), Arc::new(foreign)];
    assert_eq!(at(NOON_MS, &files), []);
    assert_eq!(at(NOON_MS + 100 * DAY_MS, &files).len(), 1);
}

#[test]
fn a_table_that_has_no_days_is_gathered_when_there_are_many() {
    let metadata = |seq| {
        let mut file = DataFile::clone(&file(TODAY, 0, seq, 0));
        file.partition = None;
        Arc::new(file)
    };
    let when = When { now_ms: NOON_MS, retention_days: 90, rules: &[], now: false };
    let files: Vec<_> = (0..FAN_IN).map(|n| metadata(2 * i64::try_from(n).unwrap())).collect();
    assert_eq!(plans(schemas::metadata(), &files[1..], when), []);
    assert_eq!(plans(schemas::metadata(), &files, when)[0].work, Work::Whole);
}

// === rules of retention ===

fn rules(rules: &[(&str, u32)]) -> Vec<TrimRule> {
    rules.iter().map(|(id, days)| TrimRule { id: (*id).into(), days: *days }).collect()
}

fn ruled(now_ms: i64, rules: &[TrimRule], files: &[Arc<DataFile>]) -> Vec<Plan> {
    plans(schemas::samples(), files, When { now_ms, retention_days: 90, rules, now: false })
}

/// The file as a plan for it would leave it.
fn trimmed(file: &Arc<DataFile>, plan: &Plan) -> Arc<DataFile> {
    let mut file = DataFile::clone(file);
    (file.level, file.trimmed) = (DAY_RUN, plan.due.as_ref().map(|due| due.mark));
    Arc::new(file)
}

#[test]
fn a_merged_day_is_rewritten_once_for_each_rule_that_comes_due() {
    let rules = rules(&[("slow", 5), ("fast", 1)]);
    let run = file("2026-11-20", 0, 2, DAY_RUN);
    assert_eq!(ruled(TODAY_MS - 2 * DAY_MS - 1, &rules, std::slice::from_ref(&run)), []);
    let found = ruled(TODAY_MS - 2 * DAY_MS, &rules, std::slice::from_ref(&run));
    assert_eq!((found.len(), found[0].work, &found[0].due.as_ref().unwrap().rules), (1, Work::Trim, &vec![1]));
    let once = [trimmed(&run, &found[0])];
    assert_eq!(ruled(TODAY_MS + 2 * DAY_MS - 1, &rules, &once), []);
    let found = ruled(TODAY_MS + 2 * DAY_MS, &rules, &once);
    assert_eq!((found.len(), found[0].work, &found[0].due.as_ref().unwrap().rules), (1, Work::Trim, &vec![0, 1]));
    let twice = [trimmed(&run, &found[0])];
    assert_eq!(ruled(TODAY_MS + 80 * DAY_MS, &rules, &twice), []);
    assert_eq!(ruled(TODAY_MS + 80 * DAY_MS, &[], &twice), [], "what is gone is no work for nobody's rule");
    assert_eq!(ruled(TODAY_MS + 80 * DAY_MS, &rules[..1], &twice).len(), 1, "other rules, other rows");
    assert_eq!(ruled(TODAY_MS + 100 * DAY_MS, &rules, &twice)[0].work, Work::Drop);
}

#[test]
fn a_day_that_is_merged_for_the_first_time_is_merged_without_what_is_due() {
    let rules = rules(&[("fast", 1)]);
    let files = [file("2026-11-20", 0, 2, 0), file("2026-11-20", 0, 3, 0)];
    let found = ruled(NOON_MS, &rules, &files);
    assert_eq!((found.len(), found[0].work, found[0].due.is_some()), (1, Work::Whole, true));
    let yesterday = [file("2026-11-23", 0, 2, 0), file("2026-11-23", 0, 3, 0)];
    let found = ruled(NOON_MS, &rules, &yesterday);
    assert_eq!((found.len(), found[0].work, &found[0].due), (1, Work::Whole, &None), "not yet");
    assert_eq!(ruled(NOON_MS, &rules, &[file(TODAY, 0, 2, 0)]), []);
}

#[test]
fn late_rows_of_a_trimmed_day_wait_for_its_next_merge_and_hold_up_no_rule() {
    let rules = rules(&[("slow", 5), ("fast", 1)]);
    let run = file("2026-11-20", 0, 2, DAY_RUN);
    let run = trimmed(&run, &ruled(NOON_MS, &rules, std::slice::from_ref(&run))[0]);
    let mut late = DataFile::clone(&file("2026-11-20", 0, 9, 0));
    late.written_ms = NOON_MS;
    let files = [run, Arc::new(late)];
    assert_eq!(ruled(NOON_MS, &rules, &files), []);
    let found = ruled(NOON_MS + 3_600_000, &rules, &files);
    assert_eq!(
        (found.len(), found[0].work, seqs(&found[0]), found[0].due.is_some()),
        (1, Work::Whole, vec![2, 9], true)
    );
    let mut late = DataFile::clone(&files[1]);
    late.written_ms = TODAY_MS + 2 * DAY_MS;
    let found = ruled(TODAY_MS + 2 * DAY_MS, &rules, &[Arc::clone(&files[0]), Arc::new(late)]);
    assert_eq!((found.len(), found[0].work, seqs(&found[0])), (1, Work::Trim, vec![2]), "the run alone");
}

#[test]
fn however_many_files_there_are_few_are_merged_at_once_and_one_is_left() {
    let in_order = |n: i64| file(TODAY, 3, 2 * n, 0);
    for now_ms in [TODAY_MS + 5 * WINDOW_MS, TODAY_MS + 2 * DAY_MS] {
        let mut files: Vec<_> = (1..200).map(in_order).collect();
        files.extend((200..300).map(|n| file(TODAY, 3, 2 * n + 1, 0)));
        let (mut next, mut read) = (1000, 0);
        while let Some(Plan { work, files: inputs, .. }) = by_hand(now_ms, &files).into_iter().next() {
            assert!((2..=super::WHOLE_FILES).contains(&inputs.len()), "{work:?} {}", inputs.len());
            read += inputs.iter().map(|file| file.rows).sum::<u64>();
            files.retain(|file| !inputs.contains(file));
            let (lane, level) = match work {
                Work::Gather(lane, level) => (lane, level),
                _ => (Lane::InOrder, DAY_RUN),
            };
            next += 2;
            let rows = inputs.iter().map(|file| file.rows).sum();
            // The one before the last is told by its lane, not by its number.
            let merged = DataFile { rows, lane, ..DataFile::clone(&file(TODAY, 3, next, level)) };
            files.push(Arc::new(merged));
        }
        assert!(files.len() <= 2, "{}", files.len());
        assert!(read <= 5 * 2990, "no row is merged more than a few times: {read}");
    }
}
