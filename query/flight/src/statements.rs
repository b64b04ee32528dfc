//! What a client may come back to: prepared statements, tickets, and queries whose rows are under way.
//!
//! Invariants: a handle is of 128 random bits, and opens only what its owner put there; what is kept is bounded by number and bytes, the
//! oldest goes first; a ticket is good once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use query::Parameter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{User, limits};

/// By what something is found again.
pub(crate) type Handle = u128;

/// A statement and its values.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub text: Arc<str>,
    pub values: Arc<[Parameter]>,
}

/// A statement that was prepared.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub question: Question,
    /// Columns of its answer while its places have no values.
    pub schema: SchemaRef,
}

/// Everything that is kept.
pub(crate) struct Statements {
    pub prepared: Kept<Prepared>,
    pub tickets: Kept<Question>,
    pub running: Running,
}

impl Default for Statements {
    fn default() -> Self {
        Self {
            prepared: Kept::new(limits::PREPARED_MAX, limits::PREPARED_AGE_MAX),
            tickets: Kept::new(limits::TICKETS_MAX, limits::TICKET_AGE_MAX),
            running: Running::default(),
        }
    }
}

impl Question {
    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len) + size_of::<Option<String>>();
        let value = |value: &Parameter| match value {
            Parameter::One(one, _) => text(one),
            Parameter::List(items, _) => items.iter().map(text).sum(),
        };
        self.text.len() + self.values.iter().map(value).sum::<usize>()
    }
}

/// Things of one kind with their owners.
pub(crate) struct Kept<T> {
    shelf: Mutex<Shelf<T>>,
    number_max: usize,
    bytes_max: usize,
    age_max: Duration,
}

struct Shelf<T> {
    things: HashMap<Handle, Thing<T>>,
    bytes: usize,
}

struct Thing<T> {
    owner: User,
    value: T,
    bytes: usize,
    used: Instant,
}

impl<T: Clone> Kept<T> {
    fn new((number_max, bytes_max): (usize, usize), age_max: Duration) -> Self {
        let shelf = Mutex::new(Shelf { things: HashMap::new(), bytes: 0 });
        Self { shelf, number_max, bytes_max, age_max }
    }

    /// Keeps something from now on, in the place of what had this handle.
    pub fn put(&self, handle: Handle, (owner, now): (User, Instant), (value, bytes): (T, usize)) {
        let mut shelf = self.shelf.lock();
        shelf.remove(handle);
        while shelf.things.len() >= self.number_max || (shelf.bytes + bytes > self.bytes_max && shelf.bytes > 0) {
            let oldest = shelf.things.iter().min_by_key(|(_, thing)| thing.used).map(|(handle, _)| *handle);
            let Some(oldest) = oldest else { break };
            shelf.remove(oldest);
        }
        shelf.bytes += bytes;
        shelf.things.insert(handle, Thing { owner, value, bytes, used: now });
    }

    /// Something that is used now.
    pub fn get(&self, handle: Handle, (owner, now): (&User, Instant)) -> Option<T> {
        let mut shelf = self.shelf.lock();
        let thing = shelf.things.get_mut(&handle).filter(|thing| thing.owner == *owner)?;
        if now.duration_since(thing.used) > self.age_max {
            shelf.remove(handle);
            return None;
        }
        thing.used = now;
        Some(thing.value.clone())
    }

    /// Something that is not kept any longer.
    pub fn take(&self, handle: Handle, (owner, now): (&User, Instant)) -> Option<T> {
        let mut shelf = self.shelf.lock();
        let thing = shelf.things.get(&handle).filter(|thing| thing.owner == *owner)?;
        let value = (now.duration_since(thing.used) <= self.age_max).then(|| thing.value.clone());
        shelf.remove(handle);
        value
    }
}

impl<T> Shelf<T> {
    fn remove(&mut self, handle: Handle) {
        if let Some(thing) = self.things.remove(&handle) {
            self.bytes -= thing.bytes;
        }
    }
}

type Runs = Arc<Mutex<HashMap<Handle, (User, CancellationToken)>>>;

/// Queries whose rows are under way, by their tickets. There are no more of them than calls.
#[derive(Default)]
pub(crate) struct Running(Runs);

/// One of them, until it is dropped.
pub(crate) struct Run {
    runs: Runs,
    handle: Handle,
    canceled: CancellationToken,
}

impl Running {
    /// A query begins.
    pub fn begin(&self, handle: Handle, owner: User) -> Run {
        let canceled = CancellationToken::new();
        self.0.lock().insert(handle, (owner, canceled.clone()));
        Run { runs: Arc::clone(&self.0), handle, canceled }
    }

    /// Ends a query; false if its owner has none of this ticket.
    pub fn cancel(&self, handle: Handle, owner: &User) -> bool {
        let runs = self.0.lock();
        let Some((_, canceled)) = runs.get(&handle).filter(|(of, _)| of == owner) else { return false };
        canceled.cancel();
        true
    }
}

impl Run {
    /// Waits for somebody to end it.
    pub async fn canceled(&self) {
        self.canceled.cancelled().await;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> User {
        Some(name.into())
    }

    #[test]
    fn what_is_kept_is_its_owners_and_not_for_ever() {
        let kept = Kept::new((10, 1_000), Duration::from_secs(60));
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let (anna, ben) = (named("anna"), named("ben"));
        kept.put(1, (anna.clone(), at(0)), ("a", 1));
        assert_eq!(kept.get(1, (&ben, at(0))), None);
        assert_eq!(kept.get(1, (&None, at(0))), None);
        assert_eq!(kept.get(1, (&anna, at(59))), Some("a"), "using it keeps it");
        assert_eq!(kept.take(1, (&anna, at(118))), Some("a"));
        assert_eq!(kept.take(1, (&anna, at(118))), None, "once");
        kept.put(2, (None, at(0)), ("b", 1));
        assert_eq!(kept.get(2, (&None, at(61))), None);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many_or_too_large_ones() {
        let kept = Kept::new((3, 100), Duration::from_secs(60));
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        for handle in 0..4_u64 {
            kept.put(handle.into(), (None, at(handle)), (handle, 10));
        }
        let found = |seconds| [0, 1, 2, 3, 4, 5].map(|handle| kept.get(handle, (&None, at(seconds))));
        assert_eq!(found(4), [None, Some(1), Some(2), Some(3), None, None]);
        kept.put(4, (None, at(5)), (4, 95));
        assert_eq!(found(6), [None, None, None, None, Some(4), None]);
        kept.put(5, (None, at(7)), (5, 1_000));
        assert_eq!(found(8), [None, None, None, None, None, Some(5)], "what is too large is kept alone");
        kept.put(6, (None, at(9)), (6, 1));
        assert_eq!(kept.shelf.lock().bytes, 1);
    }

    #[tokio::test]
    async fn only_its_owner_ends_a_query_and_only_while_it_runs() {
        let running = Running::default();
        let run = running.begin(7, named("anna"));
        assert!(!running.cancel(7, &named("ben")) && !running.cancel(8, &named("anna")));
        assert!(running.cancel(7, &named("anna")));
        run.canceled().await;
        drop(run);
        assert!(!running.cancel(7, &named("anna")));
    }
}
