//! Keeps `VIEWS.md` equal to the views it describes.

use std::{env, fmt::Write as _, fs, path::Path};

use super::*;
use crate::format::type_name;

async fn page() -> String {
    let mut out = String::from(
        "# Views\n\nGenerated from `query/src/views` by `UPDATE=1 cargo test --workspace --lib -- views::tests::page`; do not edit.\n\
         A view is asked like a table. What is said of a month is of the one that is billed, unless a view says otherwise.\n",
    );
    let bench = books(&[]);
    for view in &VIEWS {
        let file = format!("src/views/{}.sql", view.name);
        write!(
            out,
            "\n## {}\n\n{} [How it is made]({file}).\n\n| column | type | meaning |\n|---|---|---|\n",
            view.name, view.about
        )
        .unwrap();
        let schema = bench.engine().sql(&format!("SELECT * FROM {}", view.name)).await.unwrap().schema;
        let mut rest: Option<&str> = None;
        for field in schema.fields() {
            let sentence = view.meaning(field.name()).unwrap_or_else(|| panic!("{}.{}", view.name, field.name()));
            if view.meaning("") == Some(sentence) && schema.fields().len() > 40 {
                // Those of `costs` are described where it is.
                rest = Some(sentence);
                continue;
            }
            writeln!(out, "| `{}` | {} | {sentence} |", field.name(), type_name(field.data_type())).unwrap();
        }
        if let Some(sentence) = rest {
            writeln!(out, "| others | | {sentence} |").unwrap();
        }
    }
    out
}

#[tokio::test]
async fn views_page_is_fresh() {
    let page = page().await;
    let folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let path = Path::new(&folder).join("VIEWS.md");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "query/VIEWS.md is stale: run `UPDATE=1 cargo test --workspace --lib -- views::tests::page`"
    );
}

#[tokio::test]
async fn a_view_says_nothing_of_columns_that_it_does_not_have() {
    let bench = books(&[]);
    for view in &VIEWS {
        let schema = bench.engine().sql(&format!("SELECT * FROM {}", view.name)).await.unwrap().schema;
        for (name, _) in view.sql.lines().map_while(|line| line.strip_prefix("-- ")?.split_once(": ")) {
            assert!(name.contains('*') || schema.field_with_name(name).is_ok(), "{}.{name}", view.name);
        }
    }
}
