//! Checks whether a file follows FOCUS, without loading it.
//!
//! Called by the command line. Not here: the rules (`billing`), and what a load finds on its way (`load`).

use std::path::Path;

use billing::{Conformance, Version};

use super::archive;
use crate::Result;

/// Checks a file against a version of FOCUS, or that of its columns. Blocks.
///
/// # Errors
/// `Invalid` if it is no FOCUS at all, else that it cannot be read.
pub fn check_focus(path: &Path, version: Option<Version>) -> Result<Conformance> {
    let name = path.display().to_string();
    let (file, is_parquet) = archive::open(path, &name)?;
    Ok(if is_parquet {
        billing::check_focus_parquet(file, &name, version)?
    } else {
        billing::check_focus(file, &name, version)?
    })
}
