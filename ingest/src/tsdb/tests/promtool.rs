//! Blocks that `promtool` wrote, compared with what it reads of them; and a block of the first version of the index.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::openmetrics::{self, Line};

/// Labels, time, and the bits of the value.
type Row = (Vec<(String, String)>, i64, u64);

/// Some series with jumps, pauses, odd values and odd labels.
fn text() -> String {
    let mut text = String::from("# HELP walk A walk.\n# TYPE walk gauge\n");
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for series in 0..6 {
        let mut ts_ms = 1_700_000_000_000 + random(1000);
        let mut value = 20.0;
        for _ in 0..500 {
            value += match random(5) {
                0 => 0.0,
                1 => 0.1,
                2 => -7.25,
                3 => 1e9,
                _ => 1.0,
            };
            ts_ms += 15_000 + [0, 0, 1, 250, 60_000, 5_000_000][usize::try_from(random(6)).unwrap()];
            let shown = match random(40) {
                0 => "NaN".to_owned(),
                1 => "-Inf".to_owned(),
                _ => value.to_string(),
            };
            let (seconds, ms) = (ts_ms / 1000, ts_ms % 1000);
            text += &format!("walk{{series=\"{series}\",odd=\"a\\\"b\\\\c\\nd é\"}} {shown} {seconds}.{ms:03}\n");
        }
    }
    text + "# EOF\n"
}

fn rows_of_text(text: &str) -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for line in text.lines() {
        if let Line::Sample(sample) = openmetrics::line(line.as_bytes()).unwrap() {
            let labels = sample.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            rows.insert((labels, sample.ts_ms, sample.bits));
        }
    }
    rows
}

fn rows_of_blocks(folder: &Path) -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("meta.json").exists() {
            continue;
        }
        let mut block = Block::open(&path).unwrap();
        let (mut entry, mut samples) = (Entry::default(), Samples::default());
        for series in block.index().series().to_vec() {
            block.entry(series, &mut entry).unwrap();
            assert!(block.samples(series, &entry, i64::MIN..i64::MAX, &mut samples).is_empty());
            assert!(samples.floats.is_sorted_by_key(|sample| sample.ts_ms));
            let mut labels = Vec::new();
            block.index().labels(series, &entry, &mut labels).unwrap();
            let labels: Vec<_> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            rows.extend(samples.floats.iter().map(|sample| (labels.clone(), sample.ts_ms, sample.bits)));
        }
    }
    rows
}

/// What `promtool tsdb dump` says: `{labels} value milliseconds`, which is OpenMetrics but for the unit of time.
fn rows_of_dump(dump: &str) -> BTreeSet<Row> {
    let seconds = |line: &str| {
        let (sample, ms) = line.rsplit_once(' ').unwrap();
        let ms: i64 = ms.parse().unwrap();
        // A label of this name is written like any other, and is the name.
        format!("{} {}.{:03}", sample.replacen("{__name__=", "{name__=", 1), ms / 1000, ms % 1000)
    };
    let lines: Vec<_> = dump.lines().map(|line| format!("walk{}", seconds(line))).collect();
    let rows = rows_of_text(&lines.join("\n"));
    rows.into_iter()
        .map(|(labels, ts, bits)| (labels.into_iter().filter(|label| label.0 != "name__").collect(), ts, bits))
        .collect()
}

#[test]
fn blocks_of_promtool_are_read_as_promtool_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("walk.om");
    let blocks = folder.path().join("blocks");
    let text = text();
    fs::write(&file, &text).unwrap();
    fs::create_dir_all(blocks.join("wal")).unwrap();
    let make =
        Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).args([&file, &blocks]).output();
    let Ok(made) = make else {
        println!("SKIPPED: promtool is missing; apt-get install prometheus");
        return;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let dump = Command::new("promtool").args(["tsdb", "dump"]).arg(&blocks).output().unwrap();
    let rows = rows_of_blocks(&blocks);
    assert_eq!(rows.len(), 3000);
    assert!(rows == rows_of_text(&text), "blocks and text differ");
    assert!(rows == rows_of_dump(&String::from_utf8(dump.stdout).unwrap()), "blocks and dump differ");
}

#[test]
fn the_first_version_of_the_index_is_read() {
    let home = std::env::home_dir().unwrap_or_default();
    let folder: PathBuf =
        home.join("go/pkg/mod/github.com/prometheus/prometheus@v0.316.0/tsdb/testdata/index_format_v1");
    if !folder.exists() {
        println!("SKIPPED: no block of that version; go mod download github.com/prometheus/prometheus@v0.316.0");
        return;
    }
    let mut block = Block::open(&folder).unwrap();
    let (mut entry, mut samples) = (Entry::default(), Samples::default());
    let series = block.index().series().to_vec();
    assert_eq!(series.len(), 102);
    for series in series {
        block.entry(series, &mut entry).unwrap();
        assert!(block.samples(series, &entry, i64::MIN..i64::MAX, &mut samples).is_empty());
        assert_eq!(samples.len(), 1);
        let mut labels = Vec::new();
        block.index().labels(series, &entry, &mut labels).unwrap();
        assert!(matches!(labels.first(), Some(("bar" | "foo", _))), "{labels:?}");
    }
}
