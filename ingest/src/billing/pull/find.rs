//! Finds deliveries among the objects of an export, without reading their rows.
//!
//! Called by looks with what a place lists and with the manifests in it. With manifests, a delivery is what the last one of a month lists,
//! and nothing until all of that is there; without any, it is the files of a folder, or each file, once nothing about them changed for a
//! while or a marker says that they are whole.
//!
//! Invariants: what is replaced is told by the manifest's period, or else by the place alone, never by what other files are there, so that
//! two deliveries never take turns in one place; what covers some days or several months replaces no month, because the other days would
//! be gone, or counted twice; a listing of any order gives the same deliveries.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use billing::{AzurePart, Manifest};
use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime};
use object_store::{ObjectMeta, path::Path};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{listing::Manifests, place::Place};
use crate::billing::archive::hex;

/// Files whose name says that a folder is whole.
const MARKERS: [&str; 2] = ["_success", "_complete"];
/// Years that names of folders may say; other numbers of four digits are none.
const YEARS: RangeInclusive<i32> = 2000..=2100;
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
    /// Its path below the place, as it is shown and as manifests have it.
    pub path: String,
    /// Its path in its store, as it was listed: made from text, it would be encoded once more.
    pub location: Path,
    pub bytes: u64,
    /// Its ETag without quotes.
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
    /// The billing period, for rows that have none.
    pub period_us: Option<Range<i64>>,
    /// What its manifest says that it covers; of a month perhaps the first days.
    pub covers_us: Option<Range<i64>>,
    pub azure: AzurePart,
    pub files: Vec<Object>,
    /// The manifest it is of.
    pub manifest: Option<Object>,
}

/// A delivery that cannot be loaded as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Half {
    pub part: String,
    /// Since when, microseconds.
    pub since_us: i64,
    /// What is missing or wrong.
    pub reason: String,
}

/// What there is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deliveries {
    pub whole: Vec<Found>,
    pub halves: Vec<Half>,
}

/// A manifest that competes for a part: what covers more comes after what covers less, then what was delivered later.
struct Candidate {
    covers_until_us: i64,
    delivered_us: i64,
    period_us: Option<Range<i64>>,
    object: Object,
    manifest: Arc<Manifest>,
}

impl Object {
    /// An object below a place, as it is listed.
    pub(super) fn listed(meta: ObjectMeta, place: &Place) -> Self {
        let parts = meta.location.prefix_match(place.prefix());
        let below = parts.map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"));
        Self {
            path: below.unwrap_or_else(|| meta.location.to_string()),
            bytes: meta.size,
            etag: meta.e_tag.as_deref().map(|etag| plain(etag).to_owned()),
            modified_us: meta.last_modified.timestamp_micros(),
            location: meta.location,
        }
    }

    /// Is an answer of this version? By ETags, if both have one; or else by size and time, of which answers have whole seconds.
    pub(super) fn is(&self, meta: &ObjectMeta) -> bool {
        match (&self.etag, meta.e_tag.as_deref().map(plain)) {
            (Some(listed), Some(answered)) => listed == answered,
            _ => {
                let second = self.modified_us.div_euclid(1_000_000);
                self.bytes == meta.size && second == meta.last_modified.timestamp()
            }
        }
    }
}

impl Candidate {
    fn rank(&self) -> (i64, i64, &str) {
        (self.covers_until_us, self.delivered_us, &self.object.path)
    }

    /// The delivery, or what is missing of it.
    fn found(self, part: &str, by_path: &HashMap<&str, &Object>) -> Result<Found, String> {
        let Self { delivered_us, period_us, object, manifest, .. } = self;
        Ok(Found {
            part: part.to_owned(),
            delivery: manifest.revision.clone(),
            delivered_us,
            period_us,
            covers_us: manifest.period_us.clone(),
            azure: manifest.azure,
            files: listed(by_path, &object, &manifest)?,
            manifest: Some(object),
        })
    }
}

/// An ETag in one form: listings of Azure have no quotes, answers do, and what passed a proxy may be weak.
fn plain(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// Is it a manifest, by its name?
pub(super) fn is_manifest(path: &str) -> bool {
    path.to_lowercase().ends_with("manifest.json")
}

/// Deliveries that manifests list: of each month the one that covers most of it, and of those the last.
pub(super) fn by_manifests(objects: &[Object], manifests: Manifests) -> Deliveries {
    let Manifests { bills, broken } = manifests;
    let mut deliveries = Deliveries::default();
    let unread: HashSet<String> = broken.iter().map(|(object, _)| folder(&object.path).to_owned()).collect();
    deliveries.halves.extend(broken.into_iter().map(|(object, reason)| Half {
        part: Some(folder(&object.path)).filter(|folder| !folder.is_empty()).unwrap_or(&object.path).to_owned(),
        since_us: object.modified_us,
        reason,
    }));
    let mut last: BTreeMap<String, Candidate> = BTreeMap::new();
    let mut exports: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut strays: BTreeMap<String, Half> = BTreeMap::new();
    for (object, manifest) in bills {
        // What lies beside a manifest that cannot be read may be older than that.
        if unread.contains(folder(&object.path)) {
            continue;
        }
        let covers_us = manifest.period_us.clone();
        let period_us = covers_us.as_ref().and_then(month_of);
        let part = match (&covers_us, &period_us) {
            (Some(covers), None) => {
                // Of each range the first there is, so that the same is told at every look.
                let stray = stray(covers, &object);
                let known = strays.entry(stray.part.clone()).or_insert_with(|| stray.clone());
                if (stray.since_us, &stray.reason) < (known.since_us, &known.reason) {
                    *known = stray;
                }
                continue;
            }
            (_, Some(month)) => name_of_month(month),
            (None, None) => folder(&object.path).to_owned(),
        };
        let covers_until_us = covers_us.map_or(0, |covers| covers.end);
        let delivered_us = manifest.delivered_us.unwrap_or(object.modified_us);
        exports.entry(part.clone()).or_default().insert(manifest.export.clone());
        let candidate = Candidate { covers_until_us, delivered_us, period_us, object, manifest };
        if last.get(&part).is_none_or(|known| known.rank() < candidate.rank()) {
            last.insert(part, candidate);
        }
    }
    let by_path: HashMap<&str, &Object> = objects.iter().map(|object| (object.path.as_str(), object)).collect();
    for (part, candidate) in last {
        let since_us = candidate.object.modified_us;
        match exports.get(&part).map_or(Ok(()), alone).and_then(|()| candidate.found(&part, &by_path)) {
            Ok(found) => deliveries.whole.push(found),
            Err(reason) => deliveries.halves.push(Half { part, since_us, reason }),
        }
    }
    deliveries.halves.extend(strays.into_values());
    deliveries
}

/// Is a part of one export only? Several would take turns in one place, and the costs of all but one be missing.
fn alone(exports: &BTreeSet<String>) -> Result<(), String> {
    if exports.len() < 2 {
        return Ok(());
    }
    let names: Vec<&str> = exports.iter().map(String::as_str).collect();
    Err(format!(
        "several exports deliver it below one place: fetch each under a name of its own, with a longer `from` exports={}",
        names.join(",")
    ))
}

/// A manifest of which no month can be replaced.
fn stray(covers: &Range<i64>, object: &Object) -> Half {
    let part = days(covers);
    let reason = format!(
        "the manifest covers other days than those of one month from its first on: let the export deliver each month, or the month to date \
         covers={part} manifest={}",
        object.path
    );
    Half { part, since_us: object.modified_us, reason }
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
        } else if is_bill(&name) && object.bytes > 0 {
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
        let Object { path, bytes, etag, modified_us, location: _ } = file;
        all.update(format!("{path}\0{bytes}\0{}\0{modified_us}\0", etag.as_deref().unwrap_or_default()));
    }
    format!("objects:{}", hex(&all.finalize()))
}

/// May a file of this name, in small letters, be a bill?
fn is_bill(name: &str) -> bool {
    // A manifest that is here is of something else.
    !name.starts_with(['.', '_']) && ENDS.iter().any(|end| name.ends_with(end)) && !is_manifest(name)
}

/// The month that a folder's name says, for rows that have no billing period: `…/2026-11`, `…=2026-11`, `…/2026/11`, `…/2026/11/05`,
/// `…/year=2026/month=11`. Nothing else: a wrong month is worse than none.
fn period_us(part: &str) -> Option<Range<i64>> {
    let parts: Vec<&str> = part.split('/').collect();
    let start = match parts.as_slice() {
        [.., year, month, day] if number(day, 2, &["day", "d"]).is_some_and(|day| (1..=31).contains(&day)) => {
            first_day(number(year, 4, &["year", "y"]), number(month, 2, &["month", "m"]))
        }
        _ => None,
    };
    let start = start.or_else(|| match parts.as_slice() {
        [.., year, month] => first_day(number(year, 4, &["year", "y"]), number(month, 2, &["month", "m"])),
        _ => None,
    });
    let start = start.or_else(|| {
        let name = parts.last()?;
        let (year, month) = name.rsplit_once('=').map_or(*name, |(_, value)| value).split_once('-')?;
        first_day(number(year, 4, &[]), number(month, 2, &[]))
    })?;
    month_from(start)
}

/// A number of so many digits, which may have one of these names before it.
fn number(text: &str, digits: usize, names: &[&str]) -> Option<u32> {
    let value = match text.split_once('=') {
        Some((name, value)) => names.contains(&name.to_lowercase().as_str()).then_some(value)?,
        None => text,
    };
    let is_number = value.len() == digits && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| is_number)
}

fn first_day(year: Option<u32>, month: Option<u32>) -> Option<NaiveDate> {
    let year = i32::try_from(year?).ok().filter(|year| YEARS.contains(year))?;
    NaiveDate::from_ymd_opt(year, month?, 1)
}

fn month_from(start: NaiveDate) -> Option<Range<i64>> {
    let us = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_micros();
    Some(us(start)..us(start.checked_add_months(Months::new(1))?))
}

/// The month that begins where a range does and has all of it.
fn month_of(range: &Range<i64>) -> Option<Range<i64>> {
    let start = DateTime::from_timestamp_micros(range.start)?.date_naive().with_day(1)?;
    month_from(start).filter(|month| month.start == range.start && !range.is_empty() && range.end <= month.end)
}

fn name_of_month(month: &Range<i64>) -> String {
    DateTime::from_timestamp_micros(month.start).unwrap_or_default().format("%Y-%m").to_string()
}

/// A range as days, the last not in it.
pub(super) fn days(range: &Range<i64>) -> String {
    let day = |us| DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%d");
    format!("{}..{}", day(range.start), day(range.end))
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
