//! Keeps what of an import the server has acknowledged, so that a second run goes on where the first one ended.
//!
//! Called by [`Sink`](super::sink::Sink) as answers come. A state belongs to one source, server and choice of samples; a small JSON
//! file, replaced as a whole, that its owner alone may read: it names labels. Invariant: nothing is noted that was not answered, nor
//! what something was refused or left out of. Sending something twice is harmless, so the file may lag behind.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::config;

/// What is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Parts that are done.
    pub(super) done: BTreeSet<String>,
    /// The part that is under way, and up to where it is done.
    pub(super) current: Option<(String, u64)>,
    /// Samples, histograms and exemplars that were taken, in all runs.
    #[serde(default)]
    pub(super) taken: u64,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    /// Which import this is the state of.
    import: String,
    /// What is known of the text, if it is one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begin: Option<String>,
    #[serde(flatten)]
    progress: Progress,
}

/// The state of an import, and where it is kept.
#[derive(Debug)]
pub(super) struct State {
    import: String,
    begin: Option<String>,
    path: Option<PathBuf>,
    pub(super) progress: Progress,
}

impl State {
    /// Reads the state of an import from `file`, or from where states are kept by default. `begin` stands for how a text begins that
    /// has no name.
    ///
    /// # Errors
    /// If it cannot be read, or is that of another import or text.
    pub(super) fn open(import: String, begin: Option<String>, file: Option<&Path>) -> Result<Self> {
        let path = file.map_or_else(|| default_path(&import), Path::to_owned);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { import, begin, path: Some(path), progress: Progress::default() });
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let broken = || format!("{} is no state of an import: remove it, or name another", path.display());
        let saved: Saved = serde_json::from_str(&text).with_context(broken)?;
        ensure!(
            saved.import == import,
            "{} is the state of another import: remove it, or name another with --state\n  of:   {}\n  this: {import}",
            path.display(),
            saved.import
        );
        ensure!(
            saved.begin == begin,
            "stdin brings another text than the one that {} is the state of: it begins otherwise; give the same text, \
             remove the file, or name another with --state",
            path.display()
        );
        Ok(Self { import, begin, path: Some(path), progress: saved.progress })
    }

    /// A state that is not kept.
    pub(super) fn none() -> Self {
        Self { import: String::new(), begin: None, path: None, progress: Progress::default() }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Writes it down.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn save(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let saved = Saved { import: self.import.clone(), begin: self.begin.clone(), progress: self.progress.clone() };
        let written = || -> Result<()> {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fs::create_dir_all(folder)?;
            }
            let mut beside = path.clone().into_os_string();
            beside.push(".new");
            // One that a run left behind when it was killed may be of another mode.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(&saved)?)?;
            drop(file);
            Ok(fs::rename(&beside, path)?)
        };
        written().with_context(|| format!("{} cannot be written: name another file with --state", path.display()))
    }
}

/// In the user's folder of states, else the current one; the name tells imports apart.
fn default_path(import: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    import.hash(&mut hasher);
    let name = format!("import-{:016x}.json", hasher.finish());
    let absolute = |name| config::variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let states = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    match states {
        Some(states) => states.join("streamgauge").join(name),
        None => PathBuf::from(format!("streamgauge-{name}")),
    }
}
