//! Folders of a server that runs, or that something is wrong with.

use super::*;
use crate::{
    app,
    import::{Outcome, labels::Relabel},
};

const BLOCK: &str = "01HCHVNKS0EVERYENC0D1NG000";
/// Samples and histograms of the block, and of the log.
const ALL: Choice = Choice { times_ms: i64::MIN..i64::MAX, selectors: Vec::new() };

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ingest/tests/tsdb")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// A block of a name, and of a range of time.
fn block(folder: &Path, name: &str, times_ms: Range<i64>) {
    copy(&fixtures().join(BLOCK), &folder.join(name));
    let meta = format!(
        r#"{{"ulid":"{name}","minTime":{},"maxTime":{},"version":1,"stats":{{"numSamples":797}}}}"#,
        times_ms.start, times_ms.end
    );
    fs::write(folder.join(name).join("meta.json"), meta).unwrap();
}

fn count(run: impl FnOnce(&mut Sink) -> Result<()>) -> Outcome {
    let mut sink = Sink::counting(Relabel::default(), &app::env().clock);
    let ended = run(&mut sink);
    sink.finish(ended).unwrap()
}

fn imported(folder: &Path) -> Outcome {
    count(|sink| Blocks::find(folder).unwrap().run(&ALL, sink))
}

#[test]
fn a_block_that_is_not_described_costs_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    block(folder, BLOCK, 1_700_000_000_000..1_872_800_000_000);
    let whole = imported(folder);
    assert!(whole.taken.total() > 500 && whole.damaged == 0);
    for (name, meta) in [("01HCHVNKS00000000BROKEN000", "{"), ("01HCHVNKS00000000BROKEN001", "")] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("meta.json"), meta).unwrap();
    }
    let outcome = imported(folder);
    assert_eq!((outcome.taken, outcome.damaged), (whole.taken, 2));
    fs::remove_dir_all(folder.join(BLOCK)).unwrap();
    let outcome = imported(folder);
    assert_eq!((outcome.taken.total(), outcome.damaged), (0, 2), "told also if there is nothing else");
    assert!(Blocks::find(&folder.join("01HCHVNKS00000000BROKEN000")).is_err());
}

#[test]
fn days_between_blocks_are_not_gone_through() {
    let folder = tempfile::tempdir().unwrap();
    block(folder.path(), BLOCK, 1_700_000_000_000..1_872_800_000_000);
    let whole = imported(folder.path());
    block(folder.path(), "01HCHVNKS000000000000FIRST", i64::MIN..i64::MIN + 10 * DAY_MS);
    block(folder.path(), "01HCHVNKS0000000000000LAST", i64::MAX - 10 * DAY_MS..i64::MAX);
    let outcome = imported(folder.path());
    assert_eq!((outcome.taken, outcome.damaged), (whole.taken, 0));
    let mut found = Found::of(folder.path()).unwrap();
    let all = days(&found.folders, &ALL.times_ms);
    assert_eq!(all.len(), 2001 + 11 + 11);
    assert!(all.is_sorted_by(|a, b| a.end <= b.start));
    found.folders.retain(|folder| folder.name == BLOCK);
    let one = days(&found.folders, &(1_700_100_000_000..1_700_100_000_001));
    assert_eq!(one, vec![1_700_100_000_000..1_700_100_000_001]);
}

#[test]
fn a_folder_that_changes_is_looked_through_until_nothing_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let once = Choice { times_ms: 1_700_000_000_000..1_700_000_000_000 + DAY_MS, selectors: Vec::new() };
    block(folder, BLOCK, once.times_ms.clone());
    let block_alone = count(|sink| Blocks::find(folder).unwrap().run(&once, sink)).taken.total();
    copy(&fixtures().join("wal"), &folder.join("wal"));
    let both = count(|sink| Blocks::find(folder).unwrap().run(&once, sink)).taken.total();
    assert!(both > block_alone, "the log comes as well");
    let mut looks = 0;
    let look = || {
        looks += 1;
        let found = Found::of(folder);
        match looks {
            // While the first block is read, a second is made.
            1 => block(folder, "01HCHVNKS0000000000SECOND0", once.times_ms.clone()),
            // While the log is read, a third is, and a file of the log that it replaces is deleted.
            3 => {
                block(folder, "01HCHVNKS00000000000THIRD0", once.times_ms.clone());
                fs::remove_file(folder.join("wal/00000003")).unwrap();
            }
            _ => {}
        }
        found
    };
    let outcome = count(|sink| run_found(look, &once, sink));
    // One finds the first, one the second, one the log of before, one the third, one the log.
    assert_eq!((looks, outcome.damaged), (5, 0));
    assert!(outcome.taken.total() > 3 * block_alone, "{} {block_alone}", outcome.taken.total());
}

#[test]
fn a_block_that_was_merged_away_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let times_ms = 1_700_000_000_000..1_700_000_000_000 + DAY_MS;
    block(folder, BLOCK, times_ms.clone());
    let alone = imported(folder).taken;
    let mut looks = 0;
    let look = || {
        looks += 1;
        let found = Found::of(folder);
        if looks == 1 {
            fs::rename(folder.join(BLOCK), folder.join("01HCHVNKS00000000000MERGED")).unwrap();
        }
        found
    };
    let outcome = count(|sink| run_found(look, &ALL, sink));
    assert_eq!((outcome.taken, outcome.damaged, looks), (alone, 0, 3));
    // Where the folder is there and its files are not, that is damage.
    fs::remove_file(folder.join("01HCHVNKS00000000000MERGED/index")).unwrap();
    assert_eq!(imported(folder).damaged, 1);
}

#[test]
fn samples_of_series_that_nothing_is_known_of_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let wal = folder.path().join("wal");
    copy(&fixtures().join("wal"), &wal);
    let whole = imported(folder.path());
    assert_eq!(whole.damaged, 0);
    // What it said about series of older files is lost.
    fs::remove_dir_all(wal.join("checkpoint.00000001")).unwrap();
    for name in ["00000000", "00000001"] {
        fs::remove_file(wal.join(name)).unwrap();
    }
    let outcome = imported(folder.path());
    assert_eq!(outcome.damaged, 3, "the series that only the checkpoint names");
    assert!(outcome.taken.total() < whole.taken.total());
    let nothing = Choice { times_ms: 0..1, selectors: Vec::new() };
    let outcome = count(|sink| Blocks::find(folder.path()).unwrap().run(&nothing, sink));
    assert_eq!(outcome.damaged, 0, "none of their samples are asked for");
}
