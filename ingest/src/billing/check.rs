//! Checks whether a file follows FOCUS, without loading it.
//!
//! Called by the command line. Not here: the rules (`billing`), and what a load finds on its way (`load`).

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use billing::{Conformance, Version};

use super::digest;
use crate::Result;

/// Begin and end of a Parquet file.
const PARQUET: [u8; 4] = *b"PAR1";

/// Checks a file against a version of FOCUS, or that of its columns. Blocks.
///
/// # Errors
/// `Invalid` if it is no FOCUS at all, else that it cannot be read.
pub fn check_focus(path: &Path, version: Option<Version>) -> Result<Conformance> {
    let unreadable = |error: io::Error| digest::unreadable(path, error);
    let (mut file, mut begin) = (fs::File::open(path).map_err(unreadable)?, [0; PARQUET.len()]);
    let is_parquet = file.read(&mut begin).map_err(unreadable)? == begin.len() && begin == PARQUET;
    let file = fs::File::open(path).map_err(unreadable)?;
    let name = path.display().to_string();
    Ok(if is_parquet {
        billing::check_focus_parquet(file, &name, version)?
    } else {
        billing::check_focus(file, &name, version)?
    })
}
