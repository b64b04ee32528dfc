//! What the pages of `docs/`, `deploy/` and `README.md` say of the command line and of other files is so: commands and options are there, links
//! lead somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::support::server::{binary, run};

/// All pages, with the folders that their links are seen from.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages = pages.chain(["README.md", "deploy/README.md", "dashboards/README.md"].map(|name| root.join(name)));
    let read = |path: PathBuf| (path.parent().unwrap().to_owned(), fs::read_to_string(path).unwrap());
    pages.map(read).collect()
}

/// Commands of ours in the blocks and spans of code of a page, each as its words.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut code = Vec::new();
    for (nth, part) in page.split("```").enumerate() {
        match nth % 2 {
            0 => code.extend(part.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "))),
            _ => code.extend(part.replace("\\\n", " ").lines().map(str::to_owned)),
        }
    }
    let pieces = code.iter().flat_map(|line| line.split(" # ").next().unwrap_or_default().split(['|', ';', '&']));
    let ours = pieces.map(str::trim).filter_map(|piece| piece.strip_prefix("streamgauge "));
    ours.map(|command| command.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn commands_on_the_pages_are_there_with_their_options() {
    let mut asked = BTreeSet::new();
    for command in pages().iter().flat_map(|(_, page)| commands(page)) {
        let is_name = |word: &&String| word.chars().all(|c| c.is_ascii_lowercase());
        let name: Vec<String> = command.iter().take_while(is_name).cloned().collect();
        let (code, help, err) = run(binary().args(&name).arg("--help"));
        assert_eq!(code, 0, "{command:?}: {err}");
        for option in command.iter().filter_map(|word| word.split('=').next()).filter(|word| word.starts_with("--")) {
            assert!(help.split_whitespace().any(|word| word == option), "{command:?}: there is no {option}");
        }
        asked.insert(name);
    }
    assert!(asked.len() >= 15, "{asked:?}");
}

#[test]
fn links_on_the_pages_lead_somewhere() {
    for (folder, page) in pages() {
        for link in page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_here = !link.is_empty() && !link.contains("://");
            assert!(!is_here || folder.join(link).exists(), "{}: {link}", folder.display());
        }
    }
}
