//! What an append holds until it is durable and visible: its room, and the way to tell the caller.
//!
//! Shared by the log and the writers that apply the append's batches; the caller waits on [`Ack`].

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::{Error, ErrorKind, Result, View};

/// Where the newest view of a dataset is.
pub(crate) type Slot = Arc<RwLock<Arc<View>>>;

/// Held while several views are swapped, or taken, as one.
pub(crate) type Moment = Arc<RwLock<()>>;

/// Room reserved for an append: a place in every inbox, and bytes.
#[derive(Debug)]
pub struct Room {
    pub(crate) _place: OwnedSemaphorePermit,
    pub(crate) _bytes: OwnedSemaphorePermit,
}

/// Resolves when an append is durable and visible.
#[derive(Debug)]
#[must_use = "an append is not durable before its ack resolves"]
pub struct Ack(oneshot::Receiver<Result<()>>);

/// One append under way. Dropped by all holders without having been applied, it tells the caller that it failed.
pub(crate) struct Ticket {
    /// Batches that are not yet applied; `usize::MAX` while the log has not said how many there are.
    waiting: AtomicUsize,
    answer: Mutex<Option<(oneshot::Sender<Result<()>>, Room)>>,
    together: Option<Together>,
}

/// Views that wait to be shown in one moment.
struct Together {
    moment: Moment,
    views: Mutex<Vec<(Slot, Arc<View>)>>,
    /// Are they shown, or will they never be?
    is_over: watch::Sender<bool>,
}

impl Ticket {
    /// Of an append whose batches are shown in one moment, if there is one.
    pub(crate) fn new(room: Room, moment: Option<Moment>) -> (Arc<Self>, Ack) {
        let (sender, receiver) = oneshot::channel();
        let together =
            moment.map(|moment| Together { moment, views: Mutex::default(), is_over: watch::Sender::new(false) });
        let answer = Mutex::new(Some((sender, room)));
        (Arc::new(Self { waiting: AtomicUsize::new(usize::MAX), answer, together }), Ack(receiver))
    }

    /// Are all batches shown in one moment?
    pub(crate) fn is_together(&self) -> bool {
        self.together.is_some()
    }

    /// One batch is applied, and this view has it. Returns when it is shown, which is when those of all batches are: a writer that waits
    /// here waits for others to come to the same place of the log, and they do not wait for it before.
    /// If a writer stops before, the others wait no longer: who waits holds no ticket, so the last one dropped says that it failed.
    pub(crate) async fn show(self: Arc<Self>, slot: Slot, view: Arc<View>) {
        let Some(together) = &self.together else { return };
        together.views.lock().push((slot, view));
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            {
                let _moment = together.moment.write();
                together.views.lock().drain(..).for_each(|(slot, view)| *slot.write() = view);
            }
            self.answer(Ok(()));
        }
        let mut over = together.is_over.subscribe();
        drop(self);
        let _ = over.wait_for(|is_over| *is_over).await;
    }

    /// Says how many batches must be applied; called once, before the first of them is sent.
    pub(crate) fn expect(&self, batches: usize) {
        self.waiting.store(batches, Ordering::Release);
    }

    /// One batch is visible; the last one resolves the ack.
    pub(crate) fn applied(&self) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.answer(Ok(()));
        }
    }

    /// The append failed.
    pub(crate) fn fail(&self, error: Error) {
        self.answer(Err(error));
    }

    fn answer(&self, result: Result<()>) {
        if let Some((sender, _room)) = self.answer.lock().take() {
            // The caller may have gone; what is durable stays so.
            let _ = sender.send(result);
        }
        if let Some(together) = &self.together {
            together.is_over.send_replace(true);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.fail(Error::new(ErrorKind::Unavailable, "storage stopped before the append was visible; send it again"));
    }
}

impl Ack {
    /// Waits until the append is durable and visible.
    ///
    /// # Errors
    /// `Unavailable` if the log or a writer stopped first: the append may or may not have been kept, so send it again.
    pub async fn done(self) -> Result<()> {
        let stopped =
            || Error::new(ErrorKind::Unavailable, "storage stopped before the append was durable; send it again");
        self.0.await.unwrap_or_else(|_| Err(stopped()))
    }
}

#[cfg(test)]
mod tests;
