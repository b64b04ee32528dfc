//! Reads the files that the settings name.

use std::path::Path;

use alerting::{
    glob,
    rules::{Group, Options, parse},
};
use anyhow::{Context, Result, bail};

/// Files that patterns may name: beyond that somebody has named a whole disk.
const FILES_MAX: usize = 10_000;

/// A file with rules.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its path; of rules that are written through the API, their namespace.
    pub file: String,
    /// What is in it.
    pub groups: Vec<Group>,
}

/// Reads all files that patterns name, relative to a folder. A pattern may name none; a path without a pattern must be there.
///
/// # Errors
/// All that is wrong with them, each with file, line and column.
pub fn load(folder: &Path, patterns: &[String]) -> Result<Vec<Loaded>> {
    let (mut loaded, mut wrong): (Vec<Loaded>, Vec<String>) = (Vec::new(), Vec::new());
    for pattern in patterns {
        let files = glob::files(folder, pattern).with_context(|| format!("{pattern} cannot be read"))?;
        if files.is_empty() && !pattern.contains(['*', '?', '[']) {
            wrong.push(format!("{pattern}: there is no such file"));
        }
        for path in files {
            let file = path.display().to_string();
            if loaded.iter().any(|known| known.file == file) {
                continue;
            }
            if loaded.len() == FILES_MAX {
                bail!("more files with rules than are read files_max={FILES_MAX}");
            }
            match std::fs::read_to_string(&path) {
                Err(error) => wrong.push(format!("{file}: {error}")),
                Ok(text) => {
                    match parse(&text, &Options { ignores_unknown_fields: false, template: &alerting::template::check })
                    {
                        Ok(groups) => loaded.push(Loaded { file, groups }),
                        Err(errors) => wrong.extend(errors.iter().map(|error| format!("{file}:{error}"))),
                    }
                }
            }
        }
    }
    if wrong.is_empty() { Ok(loaded) } else { bail!("{}", wrong.join("\n")) }
}
