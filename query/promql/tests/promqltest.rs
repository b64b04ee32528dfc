//! The tests that Prometheus has of its engine, read unchanged, over samples in memory.
//!
//! What fails is listed in `promqltest/skipped.txt`, with a reason; the list must not grow, and what passes must not stay on it.

#[path = "promqltest"]
mod promqltest {
    pub mod memory;
    pub mod script;
    pub mod shown;
    pub mod skipped;
}

use std::{fs, path::Path};

use promqltest::{memory::Memory, script::run, skipped::Skipped};

/// Prometheus' tests, see the README there.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promqltest/upstream");

#[test]
fn every_evaluation_of_prometheus_own_tests_has_its_result() {
    let mut skipped = Skipped::read();
    let mut unexpected = Vec::new();
    let (mut total, mut files) = (0, 0);
    let mut names: Vec<_> = fs::read_dir(Path::new(FOLDER)).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "test")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let report = run(&text, &mut Memory::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        files += 1;
        total += report.evaluated.len();
        let failed = report.failures.len();
        println!("{name}: {} of {} pass", report.evaluated.len() - failed, report.evaluated.len());
        for failure in report.failures {
            if !skipped.takes(&name, &failure.query, failure.mode) {
                unexpected.push(format!(
                    "{name}.test:{} {:?}\n  {}\n{}",
                    failure.line, failure.mode, failure.query, failure.what
                ));
            }
        }
    }
    assert!(files > 0 && total > 0, "nothing was tested");
    println!("{total} evaluations in {files} files");
    assert!(unexpected.is_empty(), "{} fail:\n{}", unexpected.len(), unexpected.join("\n"));
    let idle = skipped.unused();
    assert!(idle.is_empty(), "listed in skipped.txt, and pass: {idle:?}");
}
