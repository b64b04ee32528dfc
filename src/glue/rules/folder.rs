//! The folder of rules that are written through the API: a file for each namespace.
//!
//! Called by `service`. A file's name is that of its namespace with everything but letters, digits, `-` and `_` of ASCII as `%` and
//! hexadecimal, so that no name leads out of the folder and none hides another. Invariant: a file is there as it was or as it is to be,
//! whatever ends the process; when a change returns, it is on disk.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use alerting::rules::{Group, Options, parse, to_yaml};
use anyhow::{Context, Result, ensure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Loaded;

/// What is written as itself beside letters and digits.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Ends the name of a file.
const ENDING: &str = ".yaml";
/// Longest name of a file: that of a namespace as it is encoded. File systems have 255.
const NAME_BYTES_MAX: usize = 240;
/// What is at the top of a file, for whoever looks.
const HEAD: &str = "# Written by the server: change it by its API, /config/v1/rules.\n";

/// The file of a namespace.
fn file(folder: &Path, namespace: &str) -> Result<PathBuf> {
    let name = utf8_percent_encode(namespace, &PLAIN).to_string();
    ensure!(!name.is_empty(), "a namespace has a name");
    let length = name.len();
    ensure!(
        length <= NAME_BYTES_MAX,
        "the name of the namespace is too long bytes={length} bytes_max={NAME_BYTES_MAX}"
    );
    Ok(folder.join(name + ENDING))
}

/// Is it a name that a namespace may have?
///
/// # Errors
/// Why not.
pub fn check(namespace: &str) -> Result<()> {
    file(Path::new(""), namespace).map(drop)
}

/// All namespaces, by name; none if there is no folder. Blocks.
///
/// # Errors
/// What is wrong with a file, and where.
pub fn read(folder: &Path) -> Result<Vec<Loaded>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("{} cannot be read", folder.display()))?,
    };
    let mut loaded = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // One that was not put in its place is not there.
        let Some(encoded) = name.strip_suffix(ENDING).filter(|name| !name.starts_with('.')) else { continue };
        let namespace = percent_decode_str(encoded).decode_utf8().context("a name is UTF-8");
        let namespace = namespace.with_context(|| path.display().to_string())?.into_owned();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let groups = parse(&text, &Options { ignores_unknown_fields: false, template: &alerting::template::check });
        let groups = groups.map_err(|errors| {
            let errors = errors.iter().map(|error| format!("{}:{error}", path.display()));
            anyhow::anyhow!("{}", errors.collect::<Vec<_>>().join("\n"))
        })?;
        loaded.push(Loaded { file: namespace, groups });
    }
    loaded.sort_by(|left, right| left.file.cmp(&right.file));
    Ok(loaded)
}

/// Puts groups in the place of a namespace's; none take it away. Blocks until it is on disk.
///
/// # Errors
/// If it cannot be written; then the namespace is what it was.
pub fn write(folder: &Path, namespace: &str, groups: &[Group]) -> Result<()> {
    let path = file(folder, namespace)?;
    let failed = || format!("{} cannot be written", path.display());
    fs::create_dir_all(folder).with_context(failed)?;
    if groups.is_empty() {
        fs::remove_file(&path).with_context(failed)?;
    } else {
        let text = format!("{HEAD}{}", to_yaml(groups)?);
        // What would not be read back is not written.
        let again = parse(&text, &Options { ignores_unknown_fields: false, template: &alerting::template::check });
        let is_same = |again: Vec<Group>| {
            again.len() == groups.len() && again.iter().zip(groups).all(|(one, other)| one.means_the_same(other))
        };
        ensure!(again.is_ok_and(is_same), "these groups cannot be kept as a file: this is a defect, please report it");
        let beside = path.with_file_name(format!(".{}", path.file_name().unwrap_or_default().to_string_lossy()));
        let mut staged = File::create(&beside).with_context(failed)?;
        staged.write_all(text.as_bytes()).and_then(|()| staged.sync_all()).with_context(failed)?;
        fs::rename(&beside, &path).with_context(failed)?;
    }
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(text: &str) -> Vec<Group> {
        parse(text, &Options { ignores_unknown_fields: false, template: &|_| Ok(()) }).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("rules"), folder.path().join("outside.yaml"));
        let one = groups(
            "groups: [{name: g, rules: [{alert: A, expr: 'up == 0', annotations: {a: \"b: '{{ $value }}'\\n\"}}]}]",
        );
        let names = ["../outside", "a/b", ".", "..", "a%2Fb", "größe", "A", "a", "-_", "x.yaml", " "];
        assert!(read(&root).unwrap().is_empty());
        for name in names {
            write(&root, name, &one).unwrap();
        }
        assert!(!outside.exists());
        let found = read(&root).unwrap();
        let mut expected = names.map(str::to_owned);
        expected.sort();
        assert_eq!(found.iter().map(|loaded| loaded.file.as_str()).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|loaded| loaded.groups[0].means_the_same(&one[0])));
        write(&root, "a/b", &[]).unwrap();
        assert_eq!(read(&root).unwrap().len(), names.len() - 1);
        assert!(check("").is_err() && check(&"/".repeat(100)).is_err() && check(&"a".repeat(240)).is_ok());
        // What a crash left behind is not there; what somebody broke is told with its place.
        fs::write(root.join(".half.yaml"), "groups: [").unwrap();
        assert_eq!(read(&root).unwrap().len(), names.len() - 1);
        fs::write(root.join("bad.yaml"), "groups: [{name: a, rules: [{alert: x}]}]").unwrap();
        assert!(read(&root).unwrap_err().to_string().contains("bad.yaml:1:"));
    }
}
