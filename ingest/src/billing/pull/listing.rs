//! What a place has: its objects, and what those are that are named like manifests.
//!
//! Called by looks. Invariants: whatever is named like a manifest and is JSON is read once, as long as it does not change; what cannot be
//! read is told, never passed over, because without it the files beside it would be taken for a delivery of their own.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use billing::Manifest;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{ObjectStore, ObjectStoreExt as _};
use serde_json::Value;
use tracing::debug;

use super::{
    fetch,
    find::{self, Object},
    place::{Place, unread},
};
use crate::{Error, ErrorKind, Result, billing::read_manifest};

/// Objects below one place. Seven years of daily deliveries of a large company are a tenth of it.
const OBJECTS_MAX: usize = 1_000_000;
/// Bytes of a manifest; one of ten thousand files has two million.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// Manifests that are read at once: the first look at years of daily deliveries takes seconds, and few are in memory.
const MANIFESTS_AT_ONCE: usize = 8;
/// So many manifests that cannot be fetched are an outage, and the others would take a minute each to say the same.
const FAILURES_MAX: usize = 16;
/// Members that only manifests of bills have; one with all of a line is of a bill, whatever else is wrong with it.
const MARKS: [[&str; 2]; 3] = [["assemblyId", "reportKeys"], ["executionId", "dataFiles"], ["blobs", "exportConfig"]];

/// What a file is that is named like a manifest.
#[derive(Debug, Clone)]
pub(super) enum Named {
    Bill(Arc<Manifest>),
    /// JSON of something else.
    Other,
    /// No manifest that can be read, for this reason.
    Broken(String),
}

/// The manifests of a place.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    pub bills: Vec<(Object, Arc<Manifest>)>,
    /// Those that cannot be read, with the reason.
    pub broken: Vec<(Object, String)>,
}

/// Everything below a place.
///
/// # Errors
/// `Unavailable` if it cannot be listed, `Invalid` if it is too much.
pub(super) async fn list(store: &dyn ObjectStore, place: &Place) -> Result<Vec<Object>> {
    let prefix = Some(place.prefix()).filter(|prefix| !prefix.as_ref().is_empty());
    let mut listing = store.list(prefix);
    let mut objects = Vec::new();
    while let Some(meta) = listing.try_next().await.map_err(|error| unread(place, "", error))? {
        if objects.len() == OBJECTS_MAX {
            let message = format!("a place has more than {OBJECTS_MAX} objects: name a longer prefix from={place}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        objects.push(Object::listed(meta, place));
    }
    Ok(objects)
}

/// The manifests among the objects of a place; what is `known` of those that are still there is not read again.
///
/// # Errors
/// `Unavailable` if none of a bill is there and one cannot be read, or too many cannot be fetched.
pub(super) async fn manifests(
    store: &Arc<dyn ObjectStore>,
    place: &Place,
    objects: &[Object],
    known: &mut HashMap<Object, Named>,
) -> Result<Manifests> {
    let named: Vec<&Object> = objects.iter().filter(|object| find::is_manifest(&object.path)).collect();
    let there: HashSet<&Object> = named.iter().copied().collect();
    known.retain(|object, _| there.contains(object));
    let new: Vec<Object> = named.iter().filter(|object| !known.contains_key(**object)).copied().cloned().collect();
    let reading = new.into_iter().map(|object| {
        let (store, place) = (Arc::clone(store), place.clone());
        async move {
            let read = read(store.as_ref(), &place, &object).await;
            (object, read)
        }
    });
    let mut reading = stream::iter(reading).buffered(MANIFESTS_AT_ONCE);
    let mut manifests = Manifests::default();
    while let Some((object, read)) = reading.next().await {
        match read {
            Ok(read) => drop(known.insert(object, read)),
            Err(error) if manifests.broken.len() + 1 == FAILURES_MAX => return Err(error),
            // Not remembered: the next look may be luckier.
            Err(error) => manifests.broken.push((object, error.to_string())),
        }
    }
    for object in named {
        match known.get(object) {
            Some(Named::Bill(manifest)) => manifests.bills.push((object.clone(), Arc::clone(manifest))),
            Some(Named::Broken(reason)) => manifests.broken.push((object.clone(), reason.clone())),
            Some(Named::Other) | None => {}
        }
    }
    match manifests.broken.first() {
        Some((_, reason)) if manifests.bills.is_empty() => Err(Error::new(ErrorKind::Unavailable, reason.clone())),
        _ => Ok(manifests),
    }
}

/// Reads what is named like a manifest.
async fn read(store: &dyn ObjectStore, place: &Place, object: &Object) -> Result<Named> {
    let path = &object.path;
    let broken = |reason: String| {
        let next = "deliver it again, remove it, or name a longer `from` without it";
        Named::Broken(format!("a manifest cannot be read: {reason}; {next} from={place} path={path}"))
    };
    if object.bytes > MANIFEST_BYTES_MAX {
        return Ok(broken(format!("it has {} bytes, more than {MANIFEST_BYTES_MAX}", object.bytes)));
    }
    let failed = |error| unread(place, path, error);
    let got = store.get(&object.location).await.map_err(failed)?;
    fetch::same(place, object, &got.meta)?;
    let json = got.bytes().await.map_err(failed)?;
    match read_manifest(&json) {
        Ok(manifest) => Ok(Named::Bill(Arc::new(manifest))),
        Err(error) if is_other(&json) => {
            debug!(%error, %place, path, "no manifest of a bill");
            Ok(Named::Other)
        }
        Err(error) => Ok(broken(error.to_string())),
    }
}

/// Is it JSON, and of something else than a bill?
fn is_other(json: &[u8]) -> bool {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let is_of_bill = |json: &Value| MARKS.iter().any(|marks| marks.iter().all(|mark| json.get(mark).is_some()));
    serde_json::from_slice(json).is_ok_and(|json| !is_of_bill(&json))
}
