//! What looks remember from one to the next: what was refused, what was fetched, and what was told.
//!
//! Called by [`Pull`](super::Pull) alone. All of it may be forgotten: then a delivery is fetched, refused or told once more. Invariants: a
//! refusal holds for one delivery and one state of the ledger, because another export may have been what stood against it; what is there
//! no longer is forgotten with the next look, and fetched files are bounded.

use std::collections::{HashMap, HashSet};

use super::find::{Half, Object};
use crate::billing::Kept;

/// Files that are remembered as fetched: two deliveries of the most files there are, about ten megabytes.
pub(super) const FETCHED_MAX: usize = 20_000;

/// The part of an export.
pub(super) type Of = (String, String);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    refused: HashMap<Of, Refusal>,
    /// By name, the version and where it is.
    fetched: HashMap<String, (Object, Kept)>,
    /// By export, what was missing at the last look.
    halves: HashMap<String, HashSet<Half>>,
}

/// A delivery that cannot be loaded.
#[derive(Debug)]
struct Refusal {
    delivery: String,
    /// The ledger's state.
    ledger: i64,
    reason: String,
}

impl Memory {
    /// Would a delivery be refused again?
    pub(super) fn is_refused(&self, of: &Of, delivery: &str, ledger: i64) -> bool {
        self.refused.get(of).is_some_and(|known| known.delivery == delivery && known.ledger == ledger)
    }

    /// Notes a refusal; is it to be told? Not if the same was told of the same delivery.
    pub(super) fn refuse(&mut self, of: Of, delivery: String, ledger: i64, reason: String) -> bool {
        let told = self.refused.get(&of).is_some_and(|known| known.delivery == delivery && known.reason == reason);
        self.refused.insert(of, Refusal { delivery, ledger, reason });
        !told
    }

    /// Forgets refusals of parts of an export that are not there.
    pub(super) fn keep_refused(&mut self, export: &str, parts: &HashSet<&str>) {
        self.refused.retain(|(of, part), _| of != export || parts.contains(part.as_str()));
    }

    /// The file that was fetched of this version of an object.
    pub(super) fn fetched(&self, name: &str, object: &Object) -> Option<&Kept> {
        self.fetched.get(name).filter(|(known, _)| known == object).map(|(_, kept)| kept)
    }

    /// Notes a file that was fetched.
    pub(super) fn fetch(&mut self, name: String, object: Object, kept: Kept) {
        if self.fetched.len() >= FETCHED_MAX {
            self.fetched.clear();
        }
        self.fetched.insert(name, (object, kept));
    }

    /// Forgets what was needed for a delivery that is loaded.
    pub(super) fn loaded<'a>(&mut self, of: &Of, names: impl Iterator<Item = &'a str>) {
        self.refused.remove(of);
        names.for_each(|name| drop(self.fetched.remove(name)));
    }

    /// Notes what is missing of an export; gives what was not missing at the look before.
    pub(super) fn new_halves(&mut self, export: &str, halves: Vec<Half>) -> Vec<Half> {
        let now: HashSet<Half> = halves.iter().cloned().collect();
        let before = self.halves.insert(export.to_owned(), now).unwrap_or_default();
        halves.into_iter().filter(|half| !before.contains(half)).collect()
    }
}
