//! Files that are sent one by one before they are loaded together.
//!
//! Called by the endpoints. The bytes are in the archive; which of them belong together is noted beside it, one small file for what
//! replaces one part of an export. Invariants: what is acknowledged is synced and outlives a crash; a file that is sent again takes the
//! place of the one before; what nobody commits for a day is forgotten.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Input, Kept,
    archive::{entries, hex, unwritable},
    ledger::refused,
};
use crate::{Error, ErrorKind, Result};

/// Files of one delivery; the largest of providers have some hundreds.
const FILES_MAX: usize = 10_000;
/// For how long an upload may take.
const UPLOAD_AGE: Duration = Duration::from_secs(86_400);

/// What is sent and not loaded yet.
#[derive(Debug)]
pub(super) struct Uploads {
    folder: PathBuf,
    /// Two files of one delivery may be sent at once.
    turn: Mutex<()>,
}

/// A file that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

impl Uploads {
    /// Opens the folder, which is made if it is not there.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, error))?;
        Ok(Self { folder, turn: Mutex::new(()) })
    }

    /// Notes a file of a delivery that is in the archive. Blocks.
    ///
    /// # Errors
    /// `Invalid` if there are too many files, `Unavailable` if it cannot be noted.
    pub(super) fn add(&self, export: &str, part: &str, name: &str, kept: &Kept) -> Result<Uploaded> {
        let _turn = self.turn.lock();
        let new = Uploaded { name: name.to_owned(), bytes: kept.bytes, sha256: kept.digest.clone() };
        let mut files = self.files(export, part)?;
        match files.iter().position(|file| file.name == name) {
            Some(at) => files[at] = new.clone(),
            None if files.len() == FILES_MAX => {
                return Err(refused(format!("an upload has at most {FILES_MAX} files: join some, or discard it")));
            }
            None => files.push(new.clone()),
        }
        self.write(&self.path(export, part), &files)?;
        Ok(new)
    }

    /// What was sent of a delivery, in the order in which it was. Blocks.
    ///
    /// # Errors
    /// `Corrupt` if the note cannot be read.
    pub(super) fn files(&self, export: &str, part: &str) -> Result<Vec<Uploaded>> {
        let path = self.path(export, part);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unwritable(&path, error)),
        };
        serde_json::from_slice(&text).map_err(|error| {
            let what = format!("an upload's note cannot be read: discard the upload path={}", path.display());
            Error::new(ErrorKind::Corrupt, what).caused_by(error)
        })
    }

    /// Forgets files of a delivery that are loaded; what was sent meanwhile stays. Blocks.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(super) fn take(&self, export: &str, part: &str, loaded: &[Uploaded]) -> Result<()> {
        let _turn = self.turn.lock();
        let mut files = self.files(export, part)?;
        files.retain(|file| !loaded.contains(file));
        let path = self.path(export, part);
        if files.is_empty() {
            // It is swept in a day if it cannot be removed, and asks for files that are wanted no more.
            let _ = fs::remove_file(path);
            return Ok(());
        }
        self.write(&path, &files)
    }

    /// Forgets a delivery; was there any? Blocks.
    pub(super) fn remove(&self, export: &str, part: &str) -> bool {
        let _turn = self.turn.lock();
        fs::remove_file(self.path(export, part)).is_ok()
    }

    /// Forgets deliveries that were begun long ago. Blocks.
    pub(super) fn sweep(&self, now_us: i64) {
        let now = Duration::from_micros(u64::try_from(now_us).unwrap_or_default());
        for path in entries(&self.folder) {
            let modified = path.metadata().and_then(|meta| meta.modified());
            let age = modified.map(|at| now.saturating_sub(at.duration_since(UNIX_EPOCH).unwrap_or_default()));
            if age.is_ok_and(|age| age > UPLOAD_AGE) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn path(&self, export: &str, part: &str) -> PathBuf {
        // Names of exports and parts are anything; a digest is a name of a file on every system.
        let mut name = Sha256::new();
        for text in [export, part] {
            name.update(u64::try_from(text.len()).unwrap_or_default().to_be_bytes());
            name.update(text);
        }
        self.folder.join(format!("{}.json", hex(&name.finalize())))
    }

    fn write(&self, path: &Path, files: &[Uploaded]) -> Result<()> {
        let new = path.with_extension("new");
        let text = serde_json::to_vec(files)
            .map_err(|error| Error::new(ErrorKind::Internal, "an upload cannot be noted").caused_by(error))?;
        let put = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(&self.folder)?.sync_all()
        };
        put().map_err(|error| unwritable(path, error))
    }
}

/// The files that are to be loaded: those that are named, as they were sent, or all.
pub(super) fn chosen(sent: Vec<Uploaded>, named: Option<&Vec<Uploaded>>) -> Result<Vec<Uploaded>> {
    let Some(named) = named else { return Ok(sent) };
    if let Some(missing) = named.iter().find(|file| !sent.contains(file)) {
        return Err(refused(format!("a file is not there as it is named: send it again file={}", missing.name)));
    }
    Ok(named.clone())
}

/// The archived file of an upload.
pub(super) fn input(file: Uploaded, path: Option<PathBuf>) -> Result<Input> {
    let path = path.ok_or_else(|| refused(format!("a file's bytes are gone: send it again file={}", file.name)))?;
    Ok(Input::kept(file.name, Kept { path, bytes: file.bytes, digest: file.sha256 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_sent_one_by_one_belong_together_and_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Uploads::open(folder.path().join("uploads")).unwrap();
        let kept = |digest: &str| Kept { path: PathBuf::new(), bytes: 3, digest: digest.to_owned() };
        open().add("aws", "2026-11", "b.csv", &kept("1")).unwrap();
        open().add("aws", "2026-11", "a.csv", &kept("2")).unwrap();
        open().add("aws", "2026-11", "b.csv", &kept("3")).unwrap();
        open().add("aws", "2026-12", "c.csv", &kept("4")).unwrap();
        let names = |part| -> Vec<(String, String)> {
            let files = open().files("aws", part).unwrap();
            files.into_iter().map(|file| (file.name, file.sha256)).collect()
        };
        let pair = |name: &str, digest: &str| (name.to_owned(), digest.to_owned());
        assert_eq!(names("2026-11"), [pair("b.csv", "3"), pair("a.csv", "2")]);
        let uploads = open();
        let sent = uploads.files("aws", "2026-11").unwrap();
        let named = vec![sent[1].clone()];
        assert_eq!(chosen(sent.clone(), Some(&named)).unwrap(), named);
        assert_eq!(chosen(sent.clone(), None).unwrap(), sent);
        let other = vec![Uploaded { sha256: "9".to_owned(), ..sent[0].clone() }];
        assert!(chosen(sent.clone(), Some(&other)).unwrap_err().to_string().contains("file=b.csv"));
        // What is sent while others are loaded waits for the next commit.
        uploads.add("aws", "2026-11", "late.csv", &kept("5")).unwrap();
        uploads.take("aws", "2026-11", &sent).unwrap();
        assert_eq!(names("2026-11"), [pair("late.csv", "5")]);
        assert!(open().remove("aws", "2026-11") && !open().remove("aws", "2026-11"));
        assert_eq!((names("2026-11"), names("2026-12").len()), (vec![], 1));
        let far_us = 4_000_000_000_000_000;
        open().sweep(far_us);
        assert_eq!(names("2026-12"), []);
    }
}
