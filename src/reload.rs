//! Notices that files changed and puts their new contents into force.
//!
//! Called by `app` for the tokens file and the TLS files. Contents are compared, not times: the files are small, an edit
//! within the clock's grain is seen, and so is the swapped link of a mounted secret.
//! Invariant: contents that are refused are logged once and change nothing.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use crate::config;

/// How often files are looked at: soon enough for a person who waits, and a few hundred small reads a minute at most.
const EVERY: Duration = Duration::from_secs(2);

/// Files that are used together.
pub struct Watched {
    what: &'static str,
    files: Vec<PathBuf>,
    seen: [u8; 32],
}

impl Watched {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn open(what: &'static str, files: Vec<PathBuf>) -> Result<(Self, Vec<String>)> {
        let contents = read(&files)?;
        Ok((Self { what, files, seen: digest(&contents) }, contents))
    }

    /// Calls `apply` with the contents whenever they change. Runs until it is dropped.
    pub async fn follow(mut self, apply: impl Fn(&[String]) -> Result<()>) {
        let mut unreadable = false;
        loop {
            tokio::time::sleep(EVERY).await;
            let files = self.files.clone();
            let Ok(contents) = tokio::task::spawn_blocking(move || read(&files)).await else { return };
            match contents {
                // A file is away for a moment while it is replaced; say so once if it stays away.
                Err(error) if !unreadable => {
                    unreadable = true;
                    warn!(error = format!("{error:#}"), "{} cannot be read: what was in force stays", self.what);
                }
                Err(_) => {}
                Ok(contents) => {
                    unreadable = false;
                    self.changed(&contents, &apply);
                }
            }
        }
    }

    fn changed(&mut self, contents: &[String], apply: impl Fn(&[String]) -> Result<()>) {
        let seen = digest(contents);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        match apply(contents) {
            Ok(()) => info!("{} changed and are in force", self.what),
            Err(error) => {
                warn!(error = format!("{error:#}"), "{} changed and are refused: what was in force stays", self.what);
            }
        }
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<String>> {
    files.iter().map(|file| config::read(file)).collect()
}

/// Of all contents with their lengths. Kept instead of the contents, which hold a private key.
fn digest(contents: &[String]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}
