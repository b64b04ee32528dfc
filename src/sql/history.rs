//! What was typed before: where it is kept, and what is kept of it.
//!
//! Called by `shell`. A file in the user's folder for state that nobody else can read. Bounded in entries and in bytes of each. Invariant:
//! no token gets into it.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::auth;

/// Entries that are kept; the oldest go.
pub(super) const ENTRIES_MAX: usize = 1_000;
/// Longest text that is kept: with all of them, a file of 16 MiB.
const ENTRY_BYTES_MAX: usize = 16 << 10;
/// The file below the folder for state.
const FILE: &str = "streamgauge/sql_history";

/// Where the history is kept, by the variables `XDG_STATE_HOME` and `HOME`; none if they name no folder.
pub(super) fn file(state: Option<String>, home: Option<String>) -> Option<PathBuf> {
    let absolute = |path: Option<String>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute(state).or_else(|| Some(absolute(home)?.join(".local/state")))?;
    Some(folder.join(FILE))
}

/// Makes the folder of the file, and sees to it that only its owner can read the file, if it is there.
///
/// # Errors
/// If folder or file cannot be made so.
pub(super) fn prepare(file: &Path) -> Result<()> {
    let told = || format!("history cannot be kept file={}", file.display());
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(told)?;
    }
    if file.exists() {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).with_context(told)?;
    }
    Ok(())
}

/// Is a text kept? Not if it says nothing, begins with a blank, is very long, or holds a token: one of ours, or one of these.
pub(super) fn is_kept(text: &str, secrets: &[String]) -> bool {
    let holds = |secret: &String| text.contains(secret.as_str());
    !text.trim().is_empty()
        && !text.starts_with(char::is_whitespace)
        && text.len() <= ENTRY_BYTES_MAX
        && !auth::holds_token(text)
        && !secrets.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_in_the_folder_for_state() {
        let file = |state: &str, home: &str| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            super::file(given(state), given(home)).map(|file| file.display().to_string())
        };
        assert_eq!(file("/s", "/h").unwrap(), "/s/streamgauge/sql_history");
        for relative_or_none in ["", "s"] {
            assert_eq!(file(relative_or_none, "/h").unwrap(), "/h/.local/state/streamgauge/sql_history");
        }
        assert_eq!(file("", ""), None);
    }

    #[test]
    fn only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/sql_history");
        prepare(&file).unwrap();
        fs::write(&file, "SELECT 1\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        prepare(&file).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        fs::write(folder.path().join("taken"), "").unwrap();
        assert!(prepare(&folder.path().join("taken/sql_history")).is_err());
    }

    #[test]
    fn tokens_and_what_is_led_by_a_blank_are_not_kept() {
        let secrets = ["hunter2".to_owned()];
        let (token, ..) = auth::new_token().unwrap();
        for kept in ["SELECT 1;", "\\d samples", "SELECT sg_1 FROM samples;"] {
            assert!(is_kept(kept, &secrets), "{kept}");
        }
        let with_token = format!("SELECT '{token}';");
        for dropped in
            ["", "  ", " SELECT 1;", "\\run q pass=hunter2", with_token.as_str(), &"x".repeat(ENTRY_BYTES_MAX + 1)]
        {
            assert!(!is_kept(dropped, &secrets), "{dropped}");
        }
    }
}
