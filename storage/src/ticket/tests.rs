//! Tests of tickets: views are shown together, and nobody waits for a writer that stopped.

use std::time::Duration;

use tokio::{sync::Semaphore, time::timeout};

use super::*;

async fn room() -> Room {
    let permits = Arc::new(Semaphore::new(2));
    let permit = async || Arc::clone(&permits).acquire_owned().await.unwrap();
    Room { _place: permit().await, _bytes: permit().await }
}

fn view() -> (Slot, Arc<View>) {
    let empty = Arc::new(View::empty(schemas::samples()));
    (Arc::new(RwLock::new(Arc::clone(&empty))), Arc::new(View { version: Some(7), ..(*empty).clone() }))
}

#[tokio::test]
async fn views_are_shown_once_all_are_there() {
    let (ticket, ack) = Ticket::new(room().await, Some(Arc::default()));
    ticket.expect(2);
    let ((one, new), (other, other_new)) = (view(), view());
    let first = tokio::spawn(Arc::clone(&ticket).show(Arc::clone(&one), new));
    tokio::task::yield_now().await;
    assert_eq!(one.read().version, None);
    ticket.show(Arc::clone(&other), other_new).await;
    assert_eq!((one.read().version, other.read().version), (Some(7), Some(7)));
    first.await.unwrap();
    ack.done().await.unwrap();
}

#[tokio::test]
async fn a_writer_that_stops_holds_up_neither_the_others_nor_the_caller() {
    let (ticket, ack) = Ticket::new(room().await, Some(Arc::default()));
    ticket.expect(2);
    let (slot, new) = view();
    let waiting = tokio::spawn(Arc::clone(&ticket).show(Arc::clone(&slot), new));
    tokio::task::yield_now().await;
    drop(ticket);
    timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!(ack.done().await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(slot.read().version, None);
}
