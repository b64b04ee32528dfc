//! Rule files of others that are too many to be kept here, with the verdicts of Debian's promtool on them.

use std::{fs, path::PathBuf};

/// Where a file of the corpus is.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/alerting").join(name)
}

/// Files that are here with what promtool says of them: is it content? `None`, said aloud, if there is no corpus.
pub fn verdicts(kind: &str) -> Option<Vec<(String, bool)>> {
    let list = path("oracle_promtool_2.42.tsv");
    let Ok(text) = fs::read_to_string(&list) else {
        println!(
            "SKIPPED: no corpus of rule files at {}; copy data/alerting of the shared folder there",
            list.display()
        );
        return None;
    };
    let fields = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().map(fields).filter(|row| row.len() == 3 && row[0] == kind);
    Some(rows.map(|row| (row[2].clone(), row[1] == "ok")).filter(|(file, _)| path(file).exists()).collect())
}
