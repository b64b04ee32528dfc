//! Blocks as they are on disk, whole and damaged: everything is read that Prometheus reads, and nothing else ever.

mod promtool;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::samples::{Buckets, Count, Histogram};

/// Where the times in `expected.txt` begin.
pub(super) const BEGIN_MS: i64 = 1_700_000_000_000;

fn block() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tsdb/01HCHVNKS0EVERYENC0D1NG000")
}

/// What is read of a block or a log, and what is wrong with it.
#[derive(Default)]
pub(super) struct ReadBack {
    pub lines: Vec<String>,
    pub faults: Vec<String>,
}

impl ReadBack {
    /// All of it is what is expected, line by line, and nothing is wrong.
    pub(super) fn assert_is(&self, expected: &[String]) {
        assert_eq!(self.faults, [""; 0]);
        assert!(expected.len() > 500);
        for (ours, theirs) in self.lines.iter().zip(expected) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(self.lines.len(), expected.len());
    }
}

fn read_back(folder: &Path) -> ReadBack {
    let mut read = ReadBack::default();
    let mut block = match Block::open(folder) {
        Ok(block) => block,
        Err(error) => {
            read.faults.push(error.to_string());
            return read;
        }
    };
    let (mut entry, mut samples) = (Entry::default(), Samples::default());
    for series in block.index().series().to_vec() {
        if let Err(error) = block.entry(series, &mut entry) {
            read.faults.push(error.to_string());
            continue;
        }
        let faults = block.samples(series, &entry, i64::MIN..i64::MAX, &mut samples);
        read.faults.extend(faults.iter().map(ToString::to_string));
        let mut labels = Vec::new();
        if let Err(error) = block.index().labels(series, &entry, &mut labels) {
            read.faults.push(error.to_string());
            continue;
        }
        let value = |name: &str| labels.iter().find(|label| label.0 == name).map_or("", |label| label.1);
        let name = format!("{}/{}", value("__name__"), value("case").replace(' ', ","));
        for sample in &samples.floats {
            read.lines.push(format!("{name} {} {} {:x}", sample.ts_ms - BEGIN_MS, sample.start_ms, sample.bits));
        }
        for h in &samples.histograms {
            read.lines.push(format!("{name} {} {} {}", h.ts_ms - BEGIN_MS, h.start_ms, shown(h)));
        }
    }
    read
}

/// A histogram as `expected.txt` has it.
pub(super) fn shown(h: &Histogram) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(" "));
    let bits = |values: &[f64]| list(values.iter().map(|value| format!("{:x}", value.to_bits())).collect());
    let side = |buckets: &Buckets| {
        let spans = list(buckets.spans.iter().map(|(offset, length)| format!("{offset}:{length}")).collect());
        match h.count {
            Count::Int(_) => spans + &list(buckets.deltas.iter().map(ToString::to_string).collect()),
            Count::Float(_) => spans + &bits(&buckets.counts),
        }
    };
    let mut text = String::new();
    match (h.count, h.zero_count) {
        (Count::Int(count), Count::Int(zero)) => write!(text, "i {count} {zero}").unwrap(),
        (Count::Float(count), Count::Float(zero)) => {
            write!(text, "f {:x} {:x}", count.to_bits(), zero.to_bits()).unwrap();
        }
        mixed => panic!("{mixed:?}"),
    }
    let (sum, threshold, hint) = (h.sum_bits, h.zero_threshold.to_bits(), h.reset_hint as u8);
    let (positive, negative, custom) = (side(&h.positive), side(&h.negative), bits(&h.custom_values));
    write!(text, " {sum:x} {} {threshold:x} {hint} +{positive} -{negative} {custom}", h.schema).unwrap();
    text
}

/// What Prometheus' own packages read.
pub(super) fn lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string(block().with_file_name(name)).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn expected() -> Vec<String> {
    lines("expected.txt")
}

#[test]
fn every_encoding_is_read_as_prometheus_reads_it() {
    read_back(&block()).assert_is(&expected());
}

#[test]
fn a_range_of_time_is_half_open() {
    let mut block = Block::open(&block()).unwrap();
    let (mut entry, mut samples) = (Entry::default(), Samples::default());
    // The second of the XOR chunks: one sample at the beginning, one after 15 s.
    let series = block.index().series()[1];
    block.entry(series, &mut entry).unwrap();
    for (range, expected) in [(1..15_000, 0), (0..15_000, 1), (1..15_001, 1), (0..15_001, 2)] {
        let range = BEGIN_MS + range.start..BEGIN_MS + range.end;
        assert!(block.samples(series, &entry, range.clone(), &mut samples).is_empty());
        assert_eq!(samples.len(), expected, "{range:?}");
    }
}

/// Reads the block with one of its files replaced: all that comes out must be in the block.
fn damaged(file: &str, folder: &Path, bytes: &[u8], all: &BTreeSet<String>) -> ReadBack {
    fs::write(folder.join(file), bytes).unwrap();
    let read = read_back(folder);
    for line in &read.lines {
        assert!(all.contains(line), "{file} damaged: {line}");
    }
    read
}

#[test]
fn what_is_damaged_is_told_and_never_read_as_something_else() {
    let all: BTreeSet<String> = expected().into_iter().collect();
    for file in ["index", "chunks/000001", "tombstones"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("chunks")).unwrap();
        for name in ["index", "chunks/000001", "tombstones"] {
            fs::copy(block().join(name), folder.join(name)).unwrap();
        }
        let whole = fs::read(folder.join(file)).unwrap();
        let step = whole.len() / 300 + 1;
        let mut told = 0;
        for at in (0..whole.len()).step_by(step) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            let read = damaged(file, folder, &bytes, &all);
            // Some bytes are padding, or of lists that serve queries.
            told += usize::from(!read.faults.is_empty());
            let is_named = |fault: &String| fault.contains("file=") && fault.contains("at_byte=");
            assert!(read.faults.iter().all(is_named), "{:?}", read.faults);
            assert!(read.faults.is_empty() == (read.lines.len() == all.len()), "{file} {at}: {:?}", read.faults);
        }
        assert!(told * 10 > whole.len() / step * 6, "{file}: {told} of {}", whole.len() / step);
        for length in (0..whole.len()).step_by(step * 3) {
            let read = damaged(file, folder, &whole[..length], &all);
            assert!(!read.faults.is_empty(), "{file} cut at {length}");
        }
    }
}

#[test]
fn a_damaged_chunk_costs_nothing_but_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("chunks")).unwrap();
    for name in ["index", "chunks/000001"] {
        fs::copy(block().join(name), folder.path().join(name)).unwrap();
    }
    let before = read_back(folder.path()).lines.len();
    let path = folder.path().join("chunks/000001");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    let read = read_back(folder.path());
    assert_eq!(read.faults.len(), 1);
    assert!(read.faults[0].starts_with("checksum does not match file="), "{}", read.faults[0]);
    assert!(read.lines.len() < before && read.lines.len() + 200 > before);
}

#[test]
fn a_missing_file_of_chunks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("chunks")).unwrap();
    fs::copy(block().join("index"), folder.path().join("index")).unwrap();
    let read = read_back(folder.path());
    assert!(read.lines.is_empty());
    assert!(read.faults[0].contains("file of chunks is missing") && read.faults[0].contains("000001"));
    assert!(Block::open(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere/index"));
}
