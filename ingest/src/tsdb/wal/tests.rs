//! A log that Prometheus' own packages wrote, whole, damaged and torn.

use std::collections::BTreeSet;

use super::*;
use crate::tsdb::tests::{BEGIN_MS, ReadBack, lines, shown};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tsdb/wal")
}

fn read_back(folder: &Path) -> ReadBack {
    let mut read = ReadBack::default();
    let wal = Wal::find(folder).unwrap();
    for number in 0..wal.len() {
        let faults = wal.read::<Error>(number, |logged| {
            read.lines.push(line(&logged));
            Ok(())
        });
        read.faults.extend(faults.unwrap().iter().map(ToString::to_string));
    }
    read
}

/// As `wal.txt` has it: a series by its number and how many letters its label has.
fn line(logged: &Logged<'_>) -> String {
    match logged {
        Logged::Series(series, labels) => {
            let [("__name__", "logged"), ("number", number)] = labels[..] else { panic!("{labels:?}") };
            format!("series {series} {}", number.chars().filter(|letter| *letter == 'é').count())
        }
        Logged::Sample(series, s) => format!("{series} {} {} {:x}", s.ts_ms - BEGIN_MS, s.start_ms, s.bits),
        Logged::Histogram(series, h) => format!("{series} {} {} {}", h.ts_ms - BEGIN_MS, h.start_ms, shown(h)),
        Logged::Deleted(series, first_ms, last_ms) => format!("deleted {series} {first_ms} {last_ms}"),
    }
}

/// A log of one file, the last: records in pages, compressed.
fn last() -> Vec<u8> {
    fs::read(folder().join("00000003")).unwrap()
}

fn read_file(bytes: &[u8]) -> ReadBack {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("00000000"), bytes).unwrap();
    read_back(folder.path())
}

#[test]
fn what_was_logged_is_read_from_the_newest_checkpoint_on() {
    read_back(&folder()).assert_is(&lines("wal.txt"));
}

#[test]
fn without_a_checkpoint_all_files_are_read() {
    let whole = fs::read(folder().join("00000002")).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["00000007", "00000011"] {
        fs::write(copy.path().join(name), &whole).unwrap();
    }
    fs::write(copy.path().join("notes"), "of no log").unwrap();
    let once = read_file(&whole).lines;
    assert_eq!(read_back(copy.path()).lines, [once.clone(), once].concat());
    assert!(Wal::find(Path::new("/nowhere")).unwrap_err().to_string().contains("folder=/nowhere"));
}

#[test]
fn a_damaged_byte_is_told_and_costs_its_page_at_most() {
    let whole = fs::read(folder().join("00000002")).unwrap();
    let all = read_file(&whole).lines;
    let known: BTreeSet<&String> = all.iter().collect();
    let written = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut told = 0;
    let places: Vec<usize> = (0..written).step_by(written / 400).collect();
    for at in &places {
        let mut bytes = whole.clone();
        bytes[*at] ^= 1 << (at % 8);
        let read = read_file(&bytes);
        assert!(read.lines.iter().all(|line| known.contains(line)), "{at}");
        let is_named = |fault: &String| fault.contains("file=") && fault.contains("at_byte=");
        assert!(read.faults.iter().all(is_named), "{:?}", read.faults);
        assert_eq!(read.faults.is_empty(), read.lines.len() == all.len(), "{at}: {:?}", read.faults);
        told += usize::from(!read.faults.is_empty());
    }
    // A few bits of a record's head mean nothing.
    assert!(told * 100 > places.len() * 98, "{told} of {}", places.len());
}

#[test]
fn the_end_may_be_torn_in_the_last_file_only() {
    let whole = last();
    let written = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let all = read_file(&whole).lines;
    for length in (0..written).step_by(7) {
        let read = read_file(&whole[..length]);
        assert_eq!(read.faults, [""; 0], "cut at {length}");
        assert_eq!(read.lines, all[..read.lines.len()], "cut at {length}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("00000000"), &whole[..written - 1]).unwrap();
    fs::write(folder.path().join("00000001"), &whole).unwrap();
    let read = read_back(folder.path());
    assert_eq!(read.faults.len(), 1, "{:?}", read.faults);
    assert!(read.faults[0].contains("00000000"), "{:?}", read.faults);
    assert!(read.lines.len() > all.len() && read.lines.ends_with(&all));
}
