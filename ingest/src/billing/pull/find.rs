//! Finds deliveries among the objects of an export, without reading their rows.
//!
//! Called by looks with what a place lists and with the manifests in it. With a manifest, a delivery is what its newest one lists, and
//! nothing until all of that is there; without one, it is the files of a folder, or each file, once nothing about them changed for a
//! while or a marker says that they are whole.
//!
//! Invariants: what is replaced is told by the manifest's period, or else by the place alone, never by what other files are there, so that
//! two deliveries never take turns in one place; a listing of any order gives the same deliveries.

use std::collections::{BTreeMap, HashMap};

use billing::{AzurePart, Manifest};
use chrono::{DateTime, NaiveDate};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::billing::archive::hex;

/// Files whose name says that a folder is whole.
const MARKERS: [&str; 2] = ["_success", "_complete"];
/// Ends of names of files that are looked at.
const ENDS: [&str; 8] = [".csv", ".csv.gz", ".parquet", ".json", ".jsonl", ".json.gz", ".jsonl.gz", ".gz"];

/// What belongs together where there is no manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The files of one folder replace what was there before; files beside the folders do so each for itself.
    #[default]
    Folders,
    /// Every file is one for itself, and they add up: reports that are delivered piece by piece.
    Files,
}

/// An object as it is listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Object {
    /// Its path below the place.
    pub path: String,
    pub bytes: u64,
    pub etag: Option<String>,
    /// When it was written last, microseconds.
    pub modified_us: i64,
}

/// A delivery that can be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What of its export it replaces.
    pub part: String,
    /// The provider's id, or one of what is listed.
    pub delivery: String,
    pub delivered_us: i64,
    pub period_us: Option<std::ops::Range<i64>>,
    pub azure: AzurePart,
    pub files: Vec<Object>,
    /// The manifest it is of.
    pub manifest: Option<Object>,
}

/// A delivery of which something is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Half {
    pub part: String,
    /// Since when, microseconds.
    pub since_us: i64,
    /// What is missing.
    pub reason: String,
}

/// What there is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deliveries {
    pub whole: Vec<Found>,
    pub halves: Vec<Half>,
}

/// Is it a manifest, by its name?
pub(super) fn is_manifest(path: &str) -> bool {
    path.to_lowercase().ends_with("manifest.json")
}

/// Deliveries that manifests list; none is older than another of the same part.
pub(super) fn by_manifests(objects: &[Object], manifests: Vec<(Object, Manifest)>) -> Deliveries {
    let mut newest: BTreeMap<String, (i64, Object, Manifest)> = BTreeMap::new();
    for (object, manifest) in manifests {
        let month = manifest.period_us.as_ref().and_then(|period| DateTime::from_timestamp_micros(period.start));
        let part = month.map_or_else(|| folder(&object.path).to_owned(), |month| month.format("%Y-%m").to_string());
        let delivered_us = manifest.delivered_us.unwrap_or(object.modified_us);
        // Two copies of one manifest have one revision; which is taken makes no difference but to the order of looks.
        let is_newer =
            |(other_us, other, _): &(i64, Object, Manifest)| (*other_us, &other.path) < (delivered_us, &object.path);
        if newest.get(&part).is_none_or(is_newer) {
            newest.insert(part, (delivered_us, object, manifest));
        }
    }
    let by_path: HashMap<&str, &Object> = objects.iter().map(|object| (object.path.as_str(), object)).collect();
    let mut deliveries = Deliveries::default();
    for (part, (delivered_us, object, manifest)) in newest {
        match listed(&by_path, &object, &manifest) {
            Ok(files) => deliveries.whole.push(Found {
                part,
                delivery: manifest.revision,
                delivered_us,
                period_us: manifest.period_us,
                azure: manifest.azure,
                files,
                manifest: Some(object),
            }),
            Err(reason) => deliveries.halves.push(Half { part, since_us: object.modified_us, reason }),
        }
    }
    deliveries
}

/// The objects that a manifest lists, or what is missing of them.
fn listed(by_path: &HashMap<&str, &Object>, of: &Object, manifest: &Manifest) -> Result<Vec<Object>, String> {
    if manifest.files.is_empty() {
        return Err("the manifest lists no files".to_owned());
    }
    let object = |file: &billing::ManifestFile| {
        // A key, a path or a URL; our paths begin somewhere within it. The manifest's own folder comes last.
        let parts: Vec<&str> = file.name.split('/').filter(|part| !matches!(*part, "" | "..")).collect();
        let beside = format!("{}/{}", folder(&of.path), parts.last().copied().unwrap_or_default());
        let below = (0..parts.len()).find_map(|from| by_path.get(parts[from..].join("/").as_str()));
        let found = below.or_else(|| by_path.get(beside.trim_start_matches('/')));
        let found = *found.ok_or_else(|| format!("a file is missing file={}", file.name))?;
        match file.bytes {
            Some(bytes) if bytes != found.bytes => {
                Err(format!("a file has {} bytes instead of {bytes} file={}", found.bytes, file.name))
            }
            _ => Ok(found.clone()),
        }
    };
    manifest.files.iter().map(object).collect()
}

/// Deliveries of a place without manifests.
pub(super) fn by_place(objects: &[Object], layout: Layout, quiet_us: i64, now_us: i64) -> Deliveries {
    let mut groups: BTreeMap<String, Vec<&Object>> = BTreeMap::new();
    let mut marked = Vec::new();
    for object in objects {
        let (folder, name) = (folder(&object.path), name(&object.path).to_lowercase());
        if MARKERS.contains(&name.as_str()) {
            marked.push(folder.to_owned());
        } else if object.bytes > 0 && !name.starts_with(['.', '_']) && ENDS.iter().any(|end| name.ends_with(end)) {
            let alone = layout == Layout::Files || folder.is_empty();
            let part = if alone { stem(&object.path) } else { folder };
            groups.entry(part.to_owned()).or_default().push(object);
        }
    }
    let mut deliveries = Deliveries::default();
    for (part, mut files) in groups {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let newest_us = files.iter().map(|file| file.modified_us).max().unwrap_or_default();
        if now_us - newest_us < quiet_us && !marked.contains(&part) {
            let reason = "its files are still changing".to_owned();
            deliveries.halves.push(Half { part, since_us: newest_us, reason });
            continue;
        }
        deliveries.whole.push(Found {
            delivery: id(&files),
            delivered_us: newest_us,
            period_us: period_us(&part),
            files: files.into_iter().cloned().collect(),
            part,
            ..Found::default()
        });
    }
    deliveries
}

/// An id for what is listed: it changes when a file does.
fn id(files: &[&Object]) -> String {
    let mut all = Sha256::new();
    for file in files {
        let Object { path, bytes, etag, modified_us } = file;
        all.update(format!("{path}\0{bytes}\0{}\0{modified_us}\0", etag.as_deref().unwrap_or_default()));
    }
    format!("objects:{}", hex(&all.finalize()))
}

/// The month that a folder's name says, for rows that have no billing period: `…/2026-11`, `…=2026-11`, `…/2026/11`.
fn period_us(part: &str) -> Option<std::ops::Range<i64>> {
    let text = part.rsplit(['=', '/']).next().unwrap_or(part);
    let two = part.rsplit('/').take(2).collect::<Vec<_>>();
    let joined = two.iter().rev().map(|part| part.rsplit('=').next().unwrap_or(part)).collect::<Vec<_>>().join("-");
    let month = |text: &str| NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").ok();
    let start = month(text).or_else(|| month(&joined))?;
    let end = start.checked_add_months(chrono::Months::new(1))?;
    let us = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
    Some(us(start)..us(end))
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A path without the ends of its name.
fn stem(path: &str) -> &str {
    let end = name(path).find('.').map_or(0, |dot| name(path).len() - dot);
    &path[..path.len() - end]
}

#[cfg(test)]
mod tests;
