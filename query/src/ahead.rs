//! Bodies in parts that are made ahead of their reader, by some and no more.
//!
//! Called by the endpoints whose answers hold memory of all queries while they are written, and by Flight SQL. Invariants: a reader who
//! takes nothing for longer than a query may take loses the rest, and the memory is given back, even if the connection is never looked
//! at again; when the reader is gone, what makes the parts is dropped at once.

use std::{io, time::Duration};

use futures::{Stream, StreamExt, pin_mut};
use tokio::{sync::mpsc, time::timeout};

use crate::Engine;

/// Parts that wait for their reader.
const PARTS_AHEAD: usize = 2;

/// The same parts, made by a task of their own. One that fails ends the body without its proper end.
pub fn ahead<T, E, S>(engine: &Engine, parts: S) -> impl Stream<Item = Result<T, E>> + Send + use<T, E, S>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
    S: Stream<Item = Result<T, E>> + Send + 'static,
{
    let patience = Duration::from_millis(engine.config().timeout_ms);
    let (sender, receiver) = mpsc::channel(PARTS_AHEAD);
    tokio::spawn(async move {
        pin_mut!(parts);
        loop {
            // The end is told as well: what stops without it was cut off.
            let part = tokio::select! {
                // A query may work for minutes between two parts.
                () = sender.closed() => return,
                part = parts.next() => part.transpose(),
            };
            let is_last = !matches!(part, Ok(Some(_)));
            if !matches!(timeout(patience, sender.send(part)).await, Ok(Ok(()))) || is_last {
                return;
            }
        }
    });
    futures::stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(Some(part))) => Some((Ok(part), Some(receiver))),
            Some(Ok(None)) => None,
            Some(Err(error)) => Some((Err(error), None)),
            None => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the answer was not read in time");
                Some((Err(late.into()), None))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};

    use futures::stream;

    use super::*;
    use crate::{Config, testing::Bench};

    fn engine(timeout_ms: u64) -> Engine {
        Bench::new().engine_with(Config { timeout_ms, ..Config::default() })
    }

    #[tokio::test]
    async fn parts_come_in_order_and_end_as_they_end() {
        let engine = engine(10_000);
        let whole = ahead(&engine, stream::iter((0..10).map(Ok::<_, io::Error>)));
        assert_eq!(whole.map(Result::unwrap).collect::<Vec<_>>().await, (0..10).collect::<Vec<_>>());
        let parts = [Ok(1), Err(io::Error::other("broken")), Ok(2)];
        let broken: Vec<_> = ahead(&engine, stream::iter(parts)).collect().await;
        assert!(matches!(broken.as_slice(), [Ok(1), Err(error)] if error.to_string() == "broken"));
    }

    #[tokio::test]
    async fn who_takes_nothing_loses_the_rest() {
        let engine = engine(50);
        let held = Arc::new(());
        let seen: Weak<()> = Arc::downgrade(&held);
        let parts = stream::iter((0..100).map(move |part| {
            let _ = &held;
            Ok::<_, io::Error>(part)
        }));
        let body = ahead(&engine, parts);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(seen.upgrade().is_none(), "what the answer is made of is gone");
        let read: Vec<_> = body.collect().await;
        assert!(read.len() < 100 && read.last().is_some_and(Result::is_err));
    }
}
