//! What an append holds until it is durable and visible: its room, and the way to tell the caller.
//!
//! Shared by the log and the writers that apply the append's batches; the caller waits on [`Ack`].

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{Error, ErrorKind, Result};

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
}

impl Ticket {
    pub(crate) fn new(room: Room) -> (Arc<Self>, Ack) {
        let (sender, receiver) = oneshot::channel();
        let ticket = Self { waiting: AtomicUsize::new(usize::MAX), answer: Mutex::new(Some((sender, room))) };
        (Arc::new(ticket), Ack(receiver))
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
