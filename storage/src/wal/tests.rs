//! Segments under damage: what is intact is read, what was acknowledged is never given up silently.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use std::{fs, path::PathBuf};

use super::{
    payload,
    recovery::{self, Committed},
    segment::{self, HEADER_BYTES, RECORD_HEADER_BYTES, Tail},
    segment_name,
};
use crate::{Batch, ErrorKind, Lane, disk::LocalDisk, test_rows::samples};

const LOG: u128 = 7;

fn batch(n: i64) -> Vec<Batch> {
    vec![Batch::append(schemas::samples(), samples(&[("up".into(), n, n * 1000, n as f64)]), Lane::InOrder)]
}

/// A segment of records `first..first + count`, each its own group: every one was synced before the next was written.
fn segment(first: u64, count: u64) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = segment::header(LOG, first).to_vec();
    let mut starts = Vec::new();
    for lsn in first..first + count {
        starts.push(bytes.len());
        let fits = segment::write_record(&mut bytes, lsn, lsn - 1, |out| payload::encode(&batch(lsn as i64), out));
        assert!(fits);
    }
    (bytes, starts)
}

/// Three segments of three records, as Prometheus' own log tests have it, the middle one damaged.
fn damaged(damage: impl FnOnce(&mut Vec<u8>, &[usize])) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    for first in [1, 4, 7] {
        fs::write(dir.path().join(segment_name(first)), segment(first, 3).0).unwrap();
    }
    let path = dir.path().join(segment_name(4));
    let (mut bytes, starts) = segment(4, 3);
    damage(&mut bytes, &starts);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn check_corrupt(offset: usize, damage: impl FnOnce(&mut Vec<u8>, &[usize])) {
    let (dir, path) = damaged(damage);
    let error = recovery::read(dir.path(), LOG, &schemas::all(), &Committed::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{}", error.chain());
    let place = format!("file={} offset={offset}", path.display());
    assert!(error.chain().contains(&place), "{} should name {place}", error.chain());
}

fn second(starts_at: u64) -> usize {
    segment(starts_at, 3).1[1]
}

#[test]
fn a_broken_segment_header_is_reported() {
    check_corrupt(0, |bytes, _| bytes[3] ^= 1);
}

#[test]
fn a_bad_sequence_number_is_reported() {
    check_corrupt(second(4), |bytes, starts| bytes[starts[1] + 8] ^= 0x40);
}

#[test]
fn a_bad_sync_mark_is_reported() {
    check_corrupt(second(4), |bytes, starts| bytes[starts[1] + 16] ^= 1);
}

#[test]
fn a_bad_checksum_is_reported() {
    check_corrupt(second(4), |bytes, starts| bytes[starts[1] + 4] ^= 1);
}

#[test]
fn a_bad_length_is_reported() {
    check_corrupt(second(4), |bytes, starts| bytes[starts[1]] ^= 1);
    check_corrupt(second(4), |bytes, starts| bytes[starts[1] + 3] = 0xff);
}

#[test]
fn bad_content_is_reported() {
    check_corrupt(second(4), |bytes, starts| bytes[starts[1] + RECORD_HEADER_BYTES + 5] ^= 1);
}

#[test]
fn a_zeroed_record_before_acknowledged_ones_is_reported() {
    check_corrupt(second(4), |bytes, starts| bytes[starts[1]..starts[2]].fill(0));
}

#[test]
fn a_segment_that_lost_its_last_record_is_reported_at_the_next() {
    let (dir, _) = damaged(|bytes, starts| bytes.truncate(starts[2] + 9));
    let error = recovery::read(dir.path(), LOG, &schemas::all(), &Committed::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.chain().contains("missing before it, from lsn=6"), "{}", error.chain());
}

#[test]
fn an_intact_checksum_over_unknown_content_is_reported_with_its_offset() {
    let mut bytes = segment::header(LOG, 1).to_vec();
    assert!(segment::write_record(&mut bytes, 1, 0, |out| out.extend_from_slice(&[1, 4, b'n', b'o', b'n', b'e', 0])));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(segment_name(1)), bytes).unwrap();
    let error = recovery::read(dir.path(), LOG, &schemas::all(), &Committed::default()).unwrap_err();
    assert!(error.chain().contains("rows of a dataset this version does not know"), "{}", error.chain());
    assert!(error.chain().contains(&format!("offset={}", HEADER_BYTES + RECORD_HEADER_BYTES + 6)), "{}", error.chain());
}

#[test]
fn another_logs_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(segment_name(1)), segment(1, 1).0).unwrap();
    assert_eq!(
        recovery::read(dir.path(), LOG + 1, &schemas::all(), &Committed::default()).unwrap_err().kind,
        ErrorKind::Corrupt
    );
}

#[test]
fn the_last_record_torn_at_any_byte_is_cut_and_the_rest_kept() {
    let (whole, starts) = segment(1, 3);
    for len in starts[2]..whole.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(segment_name(1));
        // As a preallocated file looks after a crash: zeros where nothing was written.
        let mut bytes = whole[..len].to_vec();
        bytes.resize(whole.len() + 512, 0);
        fs::write(&path, bytes).unwrap();
        let found = recovery::read(dir.path(), LOG, &schemas::all(), &Committed::default()).unwrap();
        let padding_only = whole[len..].iter().all(|byte| *byte == 0);
        let expected = if padding_only { 3 } else { 2 };
        assert_eq!(found.appends.len(), expected, "cut at {len}");
        assert_eq!(found.next_lsn, expected as u64 + 1);
        found.repair.apply(&LocalDisk, dir.path()).unwrap();
        let after = segment::scan(&fs::read(&path).unwrap(), 1);
        assert_eq!((after.records.len(), after.tail), (expected, Tail::Clean), "cut at {len}");
    }
}

#[test]
fn any_flipped_byte_of_the_last_record_cuts_it_and_no_other() {
    let (whole, starts) = segment(1, 3);
    let end = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    for at in starts[2]..end {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let found = segment::scan(&bytes, 1);
        assert_eq!((found.records.len(), found.tail), (2, Tail::Torn), "flipped {at}");
    }
}

#[test]
fn an_unacknowledged_group_torn_in_its_middle_is_cut() {
    // Two records of one group: the first's pages never reached the disk, the second's did.
    let mut bytes = segment::header(LOG, 1).to_vec();
    let write = |bytes: &mut Vec<u8>, lsn: u64, synced: u64| {
        assert!(segment::write_record(bytes, lsn, synced, |out| payload::encode(&batch(lsn as i64), out)));
    };
    write(&mut bytes, 1, 0);
    let torn = bytes.len();
    write(&mut bytes, 2, 1);
    let kept = bytes.len();
    write(&mut bytes, 3, 1);
    bytes[torn..kept].fill(0);
    let found = segment::scan(&bytes, 1);
    assert_eq!((found.records.len(), found.tail), (1, Tail::Torn));
}
