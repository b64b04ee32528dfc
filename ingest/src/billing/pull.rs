//! Fetches bills from where providers deliver them: looks from time to time, and loads what is new.
//!
//! Called by the composition root, which runs [`Pull::run`] beside the server. A look lists a place (`place`), finds deliveries in it
//! (`find`), fetches the files of new ones into the archive, and loads them like any other. Invariants: a place is only read; a file is
//! fetched as it was listed, or not at all; a delivery whose manifest changed meanwhile waits for the next look; what cannot be loaded
//! is told once, and tried again when it changes; one export that fails holds up no other.

mod find;
mod meter;
mod place;
mod role;

use std::{collections::HashMap, sync::Arc, time::Duration};

use billing::AzurePart;
use futures::TryStreamExt as _;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _, path::Path};
use tracing::{debug, info, warn};

use self::find::{Deliveries, Found, Half, Object};
pub use self::{
    find::Layout,
    meter::Meter,
    place::{CREDENTIAL_VARIABLES, Credentials, Place},
};
use super::{Input, Loads, Period, Reading, Request, read_manifest};
use crate::{Error, ErrorKind, Result};

/// Objects below one place. Seven years of daily deliveries of a large company are a tenth of it.
const OBJECTS_MAX: usize = 1_000_000;
/// Bytes of a manifest; one of ten thousand files has two million.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// After so long a delivery of which something is missing is told.
const HALF_US: i64 = 6 * 3_600_000_000;
/// So often is looked at what time does to months, and what of the archive is old.
const TICK: Duration = Duration::from_secs(3_600);

/// An export that is fetched.
#[derive(Debug, Clone)]
pub struct Export {
    /// What it is called.
    pub name: String,
    /// Where it is delivered.
    pub place: Place,
    /// Where the amortized costs are, if those at `place` are the actual ones of Azure.
    pub amortized: Option<Place>,
    /// How its files are read.
    pub reading: Reading,
    /// What belongs together without a manifest.
    pub layout: Layout,
    /// Without a manifest, for how long files must not have changed, microseconds.
    pub quiet_us: i64,
    /// Region of the bucket.
    pub region: Option<String>,
    /// Server that has the bucket, if it is not the provider's.
    pub endpoint: Option<String>,
    /// Is the bucket in the path instead of the server's name?
    pub path_style: Option<bool>,
    /// May it be asked without TLS?
    pub allow_http: bool,
    /// Who we are.
    pub credentials: Credentials,
    /// As whom the bucket is read.
    pub role: Option<Role>,
}

/// A role of another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub arn: String,
    /// What its owner wants to hear, so that nobody else makes us read for them.
    pub external_id: Option<String>,
    /// Token service, if it is not that of the region.
    pub endpoint: Option<String>,
}

/// Fetches exports.
pub struct Pull {
    loads: Loads,
    exports: Vec<Export>,
    every: Duration,
    meter: Meter,
    /// Deliveries that cannot be loaded, by export and part.
    bad: HashMap<(String, String), String>,
    /// Manifests that were read, by export, path and version.
    manifests: HashMap<(String, Object), billing::Manifest>,
}

impl Pull {
    /// Fetches these exports, each so often.
    #[must_use]
    pub fn new(loads: Loads, exports: Vec<Export>, every_us: i64, meter: Meter) -> Self {
        let every = Duration::from_micros(every_us.unsigned_abs());
        Self { loads, exports, every, meter, bad: HashMap::new(), manifests: HashMap::new() }
    }

    /// Looks, loads, and looks again, for as long as it is polled.
    pub async fn run(mut self) {
        match self.loads.retag().await {
            Ok(scopes) if scopes.is_empty() => {}
            Ok(scopes) => info!(scopes = scopes.len(), "rules of tags have changed: open months are summed up anew"),
            Err(error) => {
                warn!(%error, "costs could not be summed up by the new rules of tags; the next start tries again")
            }
        }
        let mut looks = tokio::time::interval(self.every);
        let mut ticks = tokio::time::interval(TICK);
        for timer in [&mut looks, &mut ticks] {
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = looks.tick() => self.look().await,
                _ = ticks.tick() => match self.loads.tick().await {
                    Ok(changes) => changes.iter().for_each(|change| info!("{change}")),
                    Err(error) => warn!(%error, "what time does to bills could not be written; it is tried again"),
                },
            }
            self.meter.show(&self.loads.freshness().await);
        }
    }

    /// Looks at every export once.
    async fn look(&mut self) {
        for export in self.exports.clone() {
            match self.export(&export).await {
                Ok(()) => self.meter.looked(&export.name, self.loads.0.clock.now_us()),
                Err(error) => {
                    self.meter.failed(&export.name);
                    warn!(%error, export = export.name, "an export cannot be looked at; it is tried again");
                }
            }
        }
    }

    async fn export(&mut self, export: &Export) -> Result<()> {
        let store = export.place.open(export)?;
        let mut found = Pairs::from(self.find(export, &export.place, &store).await?);
        let mut amortized = None;
        if let Some(place) = &export.amortized {
            let other = place.open(export)?;
            let theirs = self.find(export, place, &other).await?;
            found = both(found, theirs);
            amortized = Some(other);
        }
        let now_us = self.loads.0.clock.now_us();
        let old: Vec<&Half> = found.halves.iter().filter(|half| now_us - half.since_us > HALF_US).collect();
        self.meter.halves(&export.name, old.len());
        for half in old {
            warn!(export = export.name, part = half.part, reason = half.reason, "a delivery is not whole for hours");
        }
        for (found, theirs) in found.whole {
            let key = (export.name.clone(), found.part.clone());
            if self.bad.get(&key) == Some(&found.delivery) {
                continue;
            }
            let delivery = found.delivery.clone();
            let stores = [(&store, &export.place)].into_iter().chain(amortized.as_ref().zip(export.amortized.as_ref()));
            let stores: Vec<_> = stores.collect();
            match self.load(export, &stores, found, theirs).await {
                Ok(()) => drop(self.bad.remove(&key)),
                Err(error) => {
                    self.meter.failed(&export.name);
                    warn!(%error, export = export.name, part = key.1, "a delivery is not loaded");
                    if matches!(error.kind, ErrorKind::Invalid | ErrorKind::Corrupt) {
                        self.bad.insert(key, delivery);
                    }
                }
            }
        }
        Ok(())
    }

    /// What a place has.
    async fn find(&mut self, export: &Export, place: &Place, store: &Arc<dyn ObjectStore>) -> Result<Deliveries> {
        let prefix = Some(place.prefix()).filter(|prefix| !prefix.as_ref().is_empty());
        let mut listing = store.list(prefix);
        let mut objects = Vec::new();
        while let Some(meta) = listing.try_next().await.map_err(|error| unread(place, "", error))? {
            if objects.len() == OBJECTS_MAX {
                let message = format!("a place has more than {OBJECTS_MAX} objects: name a longer prefix from={place}");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let relative = meta
                .location
                .prefix_match(place.prefix())
                .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"));
            objects.push(Object {
                path: relative.unwrap_or_else(|| meta.location.to_string()),
                bytes: meta.size,
                etag: meta.e_tag,
                modified_us: meta.last_modified.timestamp_micros(),
            });
        }
        let mut manifests = Vec::new();
        for object in objects.iter().filter(|object| find::is_manifest(&object.path)) {
            let key = (export.name.clone(), object.clone());
            let known = match self.manifests.get(&key) {
                Some(known) => Some(known.clone()),
                None => self.manifest(export, place, store, object).await?,
            };
            if let Some(manifest) = known {
                self.manifests.insert(key, manifest.clone());
                manifests.push((object.clone(), manifest));
            }
        }
        // What is not there any more is not remembered.
        self.manifests.retain(|(of, object), _| {
            of != &export.name || export.amortized.is_some() || manifests.iter().any(|(there, _)| there == object)
        });
        if manifests.is_empty() {
            let now_us = self.loads.0.clock.now_us();
            return Ok(find::by_place(&objects, export.layout, export.quiet_us, now_us));
        }
        Ok(find::by_manifests(&objects, manifests))
    }

    /// Reads a manifest; none if it is of something else.
    async fn manifest(
        &self,
        export: &Export,
        place: &Place,
        store: &Arc<dyn ObjectStore>,
        object: &Object,
    ) -> Result<Option<billing::Manifest>> {
        if object.bytes > MANIFEST_BYTES_MAX {
            debug!(export = export.name, path = object.path, "too large for a manifest");
            return Ok(None);
        }
        let failed = |error| unread(place, &object.path, error);
        let got = store.get(&at(place, &object.path)).await.map_err(failed)?;
        let json = got.bytes().await.map_err(failed)?;
        match read_manifest(&json) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => {
                debug!(%error, export = export.name, path = object.path, "no manifest of a bill");
                Ok(None)
            }
        }
    }

    /// Fetches a delivery and loads it.
    async fn load(
        &self,
        export: &Export,
        stores: &[(&Arc<dyn ObjectStore>, &Place)],
        found: Found,
        amortized: Option<Found>,
    ) -> Result<()> {
        let scope = format!("{}/{}", export.name, found.part);
        let delivery = match &amortized {
            Some(other) => format!("{}+{}", found.delivery, other.delivery),
            None => found.delivery.clone(),
        };
        if self.loads.is_loaded(&scope, &delivery).await {
            return Ok(());
        }
        info!(export = export.name, part = found.part, files = found.files.len(), "fetching a delivery");
        let mut files = Vec::new();
        for (at, one) in [Some(&found), amortized.as_ref()].into_iter().flatten().enumerate() {
            let Some((store, place)) = stores.get(at) else { continue };
            let azure = match (one.azure, amortized.is_some(), at) {
                (_, true, 0) => Some(AzurePart::ActualBesideAmortized),
                (_, true, _) => Some(AzurePart::Amortized),
                (AzurePart::Unknown, false, _) => None,
                (known, false, _) => Some(known),
            };
            for object in &one.files {
                files.push(Input { azure, ..self.fetch(place, store, object).await? });
            }
            if let Some(manifest) = &one.manifest {
                self.unchanged(place, store, manifest).await?;
            }
        }
        let mut reading = export.reading.clone();
        if let Some(period_us) = found.period_us {
            reading.period = Some(Period(period_us));
        }
        let later_us = amortized.as_ref().map_or(0, |other| other.delivered_us);
        let request = Request {
            export: export.name.clone(),
            part: Some(found.part),
            files,
            delivery: Some(delivery),
            delivered_us: Some(found.delivered_us.max(later_us)),
            reading,
            force: false,
            dry_run: false,
        };
        let summary = self.loads.load(request, |_| {}).await?.told();
        self.meter.loaded(&export.name, &summary);
        info!(scope, revision = summary.revision, rows = summary.rows, rejects = summary.rejects, "bill loaded");
        Ok(())
    }

    /// Brings a file into the archive, as it was listed.
    async fn fetch(&self, place: &Place, store: &Arc<dyn ObjectStore>, object: &Object) -> Result<Input> {
        let failed = |error| unread(place, &object.path, error);
        let options = GetOptions { if_match: object.etag.clone(), ..GetOptions::default() };
        let got = store.get_opts(&at(place, &object.path), options).await.map_err(failed)?;
        let bytes = got.into_stream().map_err(failed);
        let kept = self.loads.receive(bytes).await?;
        if kept.bytes != object.bytes {
            let message =
                format!("a file changed while it was read; it is tried again from={place} path={}", object.path);
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let name = format!("{place}/{}", object.path);
        Ok(Input { etag: object.etag.clone(), ..Input::kept(name, kept) })
    }

    /// Is a manifest what it was? If not, its files may be those of two deliveries.
    async fn unchanged(&self, place: &Place, store: &Arc<dyn ObjectStore>, manifest: &Object) -> Result<()> {
        let head =
            store.head(&at(place, &manifest.path)).await.map_err(|error| unread(place, &manifest.path, error))?;
        let is_same = head.e_tag == manifest.etag && head.last_modified.timestamp_micros() == manifest.modified_us;
        if is_same {
            return Ok(());
        }
        let message =
            format!("a delivery was replaced while it was read; it is tried again from={place} path={}", manifest.path);
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

/// A delivery, and its amortized part if it has two.
struct Pairs {
    whole: Vec<(Found, Option<Found>)>,
    halves: Vec<Half>,
}

impl From<Deliveries> for Pairs {
    fn from(found: Deliveries) -> Self {
        Self { whole: found.whole.into_iter().map(|found| (found, None)).collect(), halves: found.halves }
    }
}

/// Deliveries of which both parts are there: what only one has is none yet.
fn both(actual: Pairs, amortized: Deliveries) -> Pairs {
    let mut others: HashMap<String, Found> =
        amortized.whole.into_iter().map(|found| (found.part.clone(), found)).collect();
    let (mut whole, mut halves) = (Vec::new(), actual.halves);
    halves.extend(amortized.halves);
    for (found, _) in actual.whole {
        match others.remove(&found.part) {
            Some(other) => whole.push((found, Some(other))),
            None => {
                let reason = "the amortized costs are not there yet".to_owned();
                halves.push(Half { part: found.part, since_us: found.delivered_us, reason });
            }
        }
    }
    let lonely = |(part, found): (String, Found)| Half {
        part,
        since_us: found.delivered_us,
        reason: "the actual costs are not there yet".to_owned(),
    };
    halves.extend(others.into_iter().map(lonely));
    Pairs { whole, halves }
}

/// The path of an object in its store.
fn at(place: &Place, path: &str) -> Path {
    place.prefix().parts().chain(Path::from(path).parts()).collect()
}

fn unread(place: &Place, path: &str, error: object_store::Error) -> Error {
    let message = format!("a place cannot be read: {error} from={place} path={path}");
    Error::new(ErrorKind::Unavailable, message).caused_by(error)
}

#[cfg(test)]
mod tests;
