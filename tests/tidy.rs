//! What the house forbids, as tests: dependency direction, dataset names in storage, missing module docs, overlong files,
//! banned names, docs that lost touch.

use std::{
    fs,
    path::{Path, PathBuf},
};

const CRATES: [&str; 5] = ["alerting", "ingest", "query", "schemas", "storage"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust source of ours, with its path below the root.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches"].map(|name| root().join(name)).into();
    folders.extend(CRATES.map(|name| root().join(name)));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 60, "the walk finds the sources");
    found
}

/// Names in the `[dependencies]` table of a crate.
fn dependencies(name: &str) -> Vec<String> {
    let manifest = read(Path::new(name).join("Cargo.toml"));
    let table = manifest.split("[dependencies]").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split(['.', '=', ' ']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn dependencies_point_down_only() {
    // By folder; crates below another are called by their last name.
    let allowed: [(&str, &[&str]); 9] = [
        ("alerting", &["promql", "schemas"]),
        ("ingest", &["billing", "promql", "schemas", "storage"]),
        ("ingest/billing", &["schemas"]),
        ("query", &["billing", "promql", "schemas", "storage"]),
        ("query/flight", &["query"]),
        ("query/pg", &["query"]),
        ("query/promql", &[]),
        ("schemas", &[]),
        ("storage", &["schemas"]),
    ];
    for (name, allowed) in allowed {
        let is_ours = |name: &String| CRATES.contains(&name.as_str()) || ["billing", "promql"].contains(&name.as_str());
        let ours: Vec<String> = dependencies(name).into_iter().filter(is_ours).collect();
        assert!(ours.iter().all(|d| allowed.contains(&d.as_str())), "{name} depends on {ours:?}");
    }
}

#[test]
fn datafusion_stays_in_query() {
    for name in
        ["alerting", "ingest", "ingest/billing", "query/flight", "query/pg", "query/promql", "schemas", "storage"]
    {
        assert!(!dependencies(name).iter().any(|d| d.starts_with("datafusion")), "{name} compiles DataFusion");
    }
}

#[test]
fn versions_stand_in_the_workspace_only() {
    for name in CRATES {
        for line in read(Path::new(name).join("Cargo.toml")).lines() {
            let states_version = line.contains("version = \"") || line.contains("features = [");
            assert!(!states_version, "{name}: `{line}` belongs into [workspace.dependencies]");
        }
    }
}

#[test]
fn storage_knows_no_dataset_by_name() {
    for (path, text) in sources() {
        let test = path.to_string_lossy().contains("test") || path.to_string_lossy().contains("model");
        if !path.starts_with("storage/src") || test {
            continue;
        }
        for dataset in schemas::all() {
            // `metadata` is also Delta Lake's own word for a column's annotations.
            let quoted = if dataset.name == "metadata" { "\"metadata_\"" } else { &format!("\"{}\"", dataset.name) };
            let called = format!("schemas::{}()", dataset.name);
            assert!(!text.contains(quoted) && !text.contains(&called), "{} names {}", path.display(), dataset.name);
        }
    }
}

#[test]
fn every_module_says_what_it_does() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} has no module doc", path.display());
    }
}

#[test]
fn files_stay_readable() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 620, "{} has {lines} lines: cut it by idea", path.display());
    }
}

#[test]
fn names_carry_meaning() {
    const BANNED: [&str; 6] = ["Manager", "Helper", "Util", "Impl", "Legacy", "V2"];
    for (path, text) in sources() {
        for line in text.lines() {
            let mut words = line.split_whitespace().filter(|word| *word != "pub" && !word.starts_with("pub("));
            if let (Some("struct" | "enum" | "trait"), Some(name)) = (words.next(), words.next()) {
                let banned = BANNED.iter().find(|banned| name.trim_end_matches(['{', ';', '(']).ends_with(**banned));
                assert!(banned.is_none(), "{}: {name}", path.display());
            }
        }
    }
    for banned in ["common", "util", "core", "types", "server"] {
        assert!(!root().join(banned).exists(), "no crate is called {banned}");
    }
}

#[test]
fn architecture_mentions_every_crate_and_fits_its_bound() {
    let text = read("ARCHITECTURE.md");
    assert!(text.lines().count() <= 400);
    for name in CRATES {
        assert!(text.contains(&format!("`{name}/`")), "{name}");
    }
    for word in text.split(['`', ' ', '\n', '(', ')', ',']).filter(|word| word.ends_with(".rs")) {
        assert!(root().join(word).exists(), "ARCHITECTURE.md names {word}, which is not there");
    }
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let mut names: Vec<String> = fs::read_dir(root().join("docs/decisions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for (number, name) in (1..).zip(&names) {
        assert!(name.starts_with(&format!("{number:04}-")), "{name} should be number {number:04}");
    }
}

#[test]
fn dashboards_rules_and_pages_name_metrics_that_exist() {
    let sources: String = sources().into_iter().map(|(_, text)| text).collect();
    let known = |name: &str| {
        let base = ["_count", "_sum", "_bucket"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        // Crates may state the common beginning of their metrics once.
        let begins = ["", "streamgauge_", "streamgauge_remote_write_", "streamgauge_billing_"];
        let mut tails = begins.iter().filter_map(|begin| base.strip_prefix(begin));
        tails.any(|tail| sources.contains(&format!("\"{tail}\"")))
    };
    let mut asked = 0;
    for (folder, extension) in [("dashboards", "json"), ("deploy/rules", "yaml"), ("docs", "md")] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|known| known != extension) {
                continue;
            }
            // A recorded name has colons; what is in one is no metric of a server.
            let text = fs::read_to_string(&path).unwrap();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            for word in words.filter(|word| word.starts_with("streamgauge_")) {
                assert!(known(word), "{}: {word} is no metric of ours", path.display());
                asked += 1;
            }
        }
    }
    assert!(asked >= 50, "{asked}");
}
