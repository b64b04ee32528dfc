//! Fetches bills from where providers deliver them: looks from time to time, and loads what is new.
//!
//! Called by the composition root, which runs [`Pull::run`] beside the server. A look lists a place (`listing`), finds deliveries in it
//! (`find`), fetches the files of new ones into the archive (`fetch`), and loads them like any other. Invariants: a place is only read; a
//! file is fetched as it was listed, or not at all; a delivery whose manifest changed meanwhile waits for the next look; what cannot be
//! loaded is told once, and tried again when it or the ledger changes; what was fetched and not loaded is not fetched again (`memory`); one
//! export that fails holds up no other, and a look of hours nothing of what time does.

mod fetch;
mod find;
mod listing;
mod memory;
mod meter;
mod place;
mod role;

use std::{collections::HashMap, sync::Arc, time::Duration};

use billing::AzurePart;
use object_store::ObjectStore;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

pub use self::{
    find::Layout,
    meter::Meter,
    place::{CREDENTIAL_VARIABLES, Credentials, Place},
};
use self::{
    find::{Deliveries, Found, Half, Object},
    listing::Named,
    memory::{Memory, Of},
};
use super::{Input, Loads, Period, Reading, Request, archive};
use crate::{ErrorKind, Result};

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
    memory: Memory,
    /// What is named like a manifest, by export and place.
    manifests: HashMap<(String, String), HashMap<Object, Named>>,
}

/// A place that is open, and what it is called.
type Open = (Arc<dyn ObjectStore>, Place);

impl Pull {
    /// Fetches these exports, each so often.
    #[must_use]
    pub fn new(loads: Loads, exports: Vec<Export>, every_us: i64, meter: Meter) -> Self {
        let every = Duration::from_micros(every_us.unsigned_abs());
        Self { loads, exports, every, meter, memory: Memory::default(), manifests: HashMap::new() }
    }

    /// Looks, loads, and looks again, for as long as it is polled; beside that lets time do what it does.
    pub async fn run(mut self) {
        match self.loads.retag().await {
            Ok(scopes) if scopes.is_empty() => {}
            Ok(scopes) => info!(scopes = scopes.len(), "rules of tags have changed: open months are summed up anew"),
            Err(error) => {
                warn!(%error, "costs could not be summed up by the new rules of tags; the next start tries again")
            }
        }
        let ticks = ticks(self.loads.clone(), self.meter.clone());
        futures::join!(self.looks(), ticks);
    }

    async fn looks(&mut self) {
        let mut looks = timer(self.every);
        loop {
            looks.tick().await;
            for export in self.exports.clone() {
                match self.look(&export).await {
                    Ok(()) => self.meter.looked(&export.name, self.loads.0.clock.now_us()),
                    Err(error) => {
                        self.meter.failed(&export.name);
                        warn!(%error, export = export.name, "an export cannot be looked at; it is tried again");
                    }
                }
            }
            self.meter.show(&self.loads.freshness().await);
        }
    }

    /// Looks at an export, and loads what is new.
    async fn look(&mut self, export: &Export) -> Result<()> {
        let mut stores = vec![(export.place.open(export)?, export.place.clone())];
        let mut found = Pairs::from(self.find(export, &stores[0]).await?);
        if let Some(place) = &export.amortized {
            let other = (place.open(export)?, place.clone());
            found = both(found, self.find(export, &other).await?);
            stores.push(other);
        }
        self.tell(export, found.halves);
        let parts = found.whole.iter().map(|(found, _)| found.part.as_str()).collect();
        self.memory.keep_refused(&export.name, &parts);
        for pair in found.whole {
            self.take(export, &stores, pair).await;
        }
        Ok(())
    }

    /// Tells of deliveries that wait for long, each once until it changes.
    fn tell(&mut self, export: &Export, halves: Vec<Half>) {
        let now_us = self.loads.0.clock.now_us();
        let old: Vec<Half> = halves.into_iter().filter(|half| now_us - half.since_us > HALF_US).collect();
        self.meter.halves(&export.name, old.len());
        for half in self.memory.new_halves(&export.name, old) {
            warn!(
                export = export.name,
                part = half.part,
                reason = half.reason,
                "a delivery waits for hours and is not loaded"
            );
        }
    }

    /// What a place has.
    async fn find(&mut self, export: &Export, (store, place): &Open) -> Result<Deliveries> {
        let objects = listing::list(store.as_ref(), place).await?;
        let known = self.manifests.entry((export.name.clone(), place.to_string())).or_default();
        let manifests = listing::manifests(store, place, &objects, known).await?;
        if manifests.bills.is_empty() {
            let now_us = self.loads.0.clock.now_us();
            return Ok(find::by_place(&objects, export.layout, export.quiet_us, now_us));
        }
        Ok(find::by_manifests(&objects, manifests))
    }

    /// Loads a delivery unless it is loaded, or would be refused again.
    async fn take(&mut self, export: &Export, stores: &[Open], pair: (Found, Option<Found>)) {
        let of = (export.name.clone(), pair.0.part.clone());
        let delivery = match &pair.1 {
            Some(other) => format!("{}+{}", pair.0.delivery, other.delivery),
            None => pair.0.delivery.clone(),
        };
        if self.loads.is_loaded(&format!("{}/{}", of.0, of.1), &delivery).await {
            return;
        }
        // As it was before: what is loaded meanwhile may be what stood against this delivery.
        let ledger = self.ledger().await;
        if self.memory.is_refused(&of, &delivery, ledger) {
            return;
        }
        let Err(error) = self.load(export, stores, pair, delivery.clone()).await else {
            self.meter.show(&self.loads.freshness().await);
            return;
        };
        self.meter.failed(&export.name);
        let part = of.1.clone();
        if !matches!(error.kind, ErrorKind::Invalid | ErrorKind::Corrupt) {
            warn!(%error, export = export.name, part, "a delivery is not loaded; the next look tries again");
        } else if self.memory.refuse(of, delivery, ledger, error.to_string()) {
            warn!(
                %error,
                export = export.name,
                part,
                "a delivery is refused: do what the error says, or load its files with `streamgauge import billing --force` if they are \
                 right; it is tried again when it is delivered anew, or any bill is loaded"
            );
        } else {
            debug!(%error, export = export.name, part, "a delivery is refused again");
        }
    }

    /// A number that changes with the ledger: each load has a higher revision than the one it replaces.
    async fn ledger(&self) -> i64 {
        self.loads.0.books.lock().await.ledger.scopes().map(|(_, loaded)| loaded.revision).sum()
    }

    /// Fetches a delivery and loads it.
    async fn load(
        &mut self,
        export: &Export,
        stores: &[Open],
        (found, amortized): (Found, Option<Found>),
        delivery: String,
    ) -> Result<()> {
        info!(export = export.name, part = found.part, files = found.files.len(), "fetching a delivery");
        let is_pair = amortized.is_some();
        let later_us = amortized.as_ref().map_or(0, |other| other.delivered_us);
        let all: Vec<(&Open, &Found)> =
            stores.iter().zip([Some(&found), amortized.as_ref()].into_iter().flatten()).collect();
        // Before, so that nothing is fetched in vain; and after, because until then its files may have become those of two deliveries.
        unchanged(&all).await?;
        let mut files = Vec::new();
        for (at, (open, one)) in all.iter().enumerate() {
            let azure = match (one.azure, is_pair, at) {
                (_, true, 0) => Some(AzurePart::ActualBesideAmortized),
                (_, true, _) => Some(AzurePart::Amortized),
                (AzurePart::Unknown, false, _) => None,
                (known, false, _) => Some(known),
            };
            for object in &one.files {
                files.push(Input { azure, ..self.fetch(open, object).await? });
            }
        }
        unchanged(&all).await?;
        let mut reading = export.reading.clone();
        if let Some(period_us) = found.period_us {
            reading.period = Some(Period(period_us));
        }
        let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        let of: Of = (export.name.clone(), found.part.clone());
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
        self.memory.loaded(&of, names.iter().map(String::as_str));
        self.meter.loaded(&export.name, &summary);
        let (scope, revision) = (&summary.scope, summary.revision);
        info!(scope, revision, rows = summary.rows, rejects = summary.rejects, "bill loaded");
        if summary.changes.iter().any(|change| change.shrank) {
            warn!(scope, notes = ?summary.notes, "a bill is less by far than it was");
        }
        Ok(())
    }

    /// Brings a file into the archive, as it was listed; one that is there since a load that failed is not fetched again.
    async fn fetch(&mut self, (store, place): &Open, object: &Object) -> Result<Input> {
        let name = place.name(&object.path);
        let known = self.memory.fetched(&name, object).cloned();
        let kept = match known.filter(|kept| self.loads.0.archive.find(&kept.digest).is_some()) {
            Some(kept) => {
                archive::touch(&kept.path, self.loads.0.clock.now_us());
                kept
            }
            None => self.loads.receive(fetch::bytes(store.as_ref(), place, object)).await?,
        };
        if kept.bytes != object.bytes {
            return Err(fetch::changed(place, object));
        }
        self.memory.fetch(name.clone(), object.clone(), kept.clone());
        Ok(Input { etag: object.etag.clone(), ..Input::kept(name, kept) })
    }
}

/// Lets time do what it does to months and to the archive.
async fn ticks(loads: Loads, meter: Meter) {
    let mut ticks = timer(TICK);
    loop {
        ticks.tick().await;
        match loads.tick().await {
            Ok(changes) => changes.iter().for_each(|change| info!("{change}")),
            Err(error) => warn!(%error, "what time does to bills could not be written; it is tried again"),
        }
        meter.show(&loads.freshness().await);
    }
}

/// Ticks at once and then so often; what took longer is not made up for.
fn timer(every: Duration) -> Interval {
    let mut timer = interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Are the manifests of a delivery what they were?
async fn unchanged(all: &[(&Open, &Found)]) -> Result<()> {
    for ((store, place), found) in all {
        if let Some(manifest) = &found.manifest {
            fetch::unchanged(store.as_ref(), place, manifest).await?;
        }
    }
    Ok(())
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

/// Deliveries of which both parts are there and cover the same days: what only one has is none yet.
fn both(actual: Pairs, amortized: Deliveries) -> Pairs {
    let mut others: HashMap<String, Found> =
        amortized.whole.into_iter().map(|found| (found.part.clone(), found)).collect();
    let (mut whole, mut halves) = (Vec::new(), actual.halves);
    halves.extend(amortized.halves);
    for (found, _) in actual.whole {
        match others.remove(&found.part) {
            Some(other) if other.covers_us == found.covers_us => whole.push((found, Some(other))),
            Some(other) => {
                let days = |found: &Found| found.covers_us.as_ref().map_or("unknown".to_owned(), find::days);
                let (of, beside) = (days(&found), days(&other));
                let reason =
                    format!("the actual and the amortized costs cover different ranges actual={of} amortized={beside}");
                let since_us = found.delivered_us.max(other.delivered_us);
                halves.push(Half { part: found.part, since_us, reason });
            }
            None => halves.push(half_of(found, "the amortized costs are not there yet")),
        }
    }
    halves.extend(others.into_values().map(|found| half_of(found, "the actual costs are not there yet")));
    Pairs { whole, halves }
}

fn half_of(found: Found, reason: &str) -> Half {
    Half { part: found.part, since_us: found.delivered_us, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
