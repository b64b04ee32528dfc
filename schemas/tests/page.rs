//! Keeps `SCHEMAS.md` equal to the datasets it describes.

use std::{env, fs, path::Path};

#[test]
fn schemas_page_is_fresh() {
    // Where the test runs, which need not be where it was built.
    let folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let path = Path::new(&folder).join("SCHEMAS.md");
    let page = schemas::schemas_page();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "schemas/SCHEMAS.md is stale: run `UPDATE=1 cargo test -p schemas`");
}

#[test]
fn every_dataset_is_sorted_by_its_own_columns() {
    for dataset in schemas::all() {
        for column in dataset.sort {
            assert!(dataset.index_of(column).is_some(), "{}.{column}", dataset.name);
        }
        assert!(dataset.key <= dataset.sort.len(), "{}", dataset.name);
        assert!(dataset.index_of(dataset.time).is_some(), "{}", dataset.name);
    }
}
