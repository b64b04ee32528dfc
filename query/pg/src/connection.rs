//! One connection: its messages in order, and what it holds.
//!
//! Called by the server with an opened connection. Both ways to ask, the simple one (a string of statements) and the extended one
//! (`extended`: prepared statements and portals), end in `answer`, which runs a statement, and `rows`, which sends what it gives.
//!
//! Invariants: after an error of the extended way, messages are skipped up to the next `Sync`; in a transaction that failed only its
//! end is answered; a query has one limit of time from its begin to its last row, whoever waits meanwhile.

mod answer;
mod extended;
mod rows;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Inner,
    cancel::Key,
    failure::Failure,
    limits,
    opening::Opened,
    script::{self, Kind},
    settings::Settings,
    wire::{Channel, Ended, Message, Out},
};
use answer::Outcome;
use extended::{Portal, Statement};

/// A transaction, which has no effect but on what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    Open,
    Failed,
}

/// A connection that is served.
pub(crate) struct Connection {
    server: Arc<Inner>,
    channel: Channel,
    key: Key,
    user: String,
    settings: Settings,
    transaction: Transaction,
    statements: BTreeMap<String, Arc<Statement>>,
    portals: BTreeMap<String, Portal>,
    /// Are messages skipped up to the next `Sync`?
    skips: bool,
    _seat: OwnedSemaphorePermit,
}

impl Connection {
    pub fn new(server: Arc<Inner>, opened: Opened) -> Self {
        let Opened { channel, key, user, seat, options } = opened;
        let settings = Settings::new(&user, &options);
        Self {
            server,
            channel,
            key,
            user,
            settings,
            transaction: Transaction::None,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            skips: false,
            _seat: seat,
        }
    }

    /// Serves it until either side ends it.
    pub async fn run(mut self) {
        self.greet();
        loop {
            // Answers to messages that came together go together.
            let must_send = !self.channel.has_more() || self.channel.out.len() >= limits::SEND_BYTES;
            if must_send && self.channel.send().await.is_err() {
                return;
            }
            match self.turn().await {
                Ok(true) => {}
                Ok(false) | Err(Ended::Gone) => return,
                Err(Ended::Wrong(failure)) => {
                    failure.write(&mut self.channel.out);
                    let is_sent = self.channel.send().await.is_ok();
                    if failure.is_fatal || !is_sent {
                        return;
                    }
                }
            }
        }
    }

    fn greet(&mut self) {
        for (name, value) in self.settings.reported() {
            report(&mut self.channel.out, name, value);
        }
        self.channel.out.message(b'K', |out| {
            out.put_u32(self.key.id);
            out.put_u32(self.key.secret);
        });
        self.ready();
    }

    fn ready(&mut self) {
        let state = match self.transaction {
            Transaction::None => b'I',
            Transaction::Open => b'T',
            Transaction::Failed => b'E',
        };
        self.channel.out.message(b'Z', |out| out.put_u8(state));
    }

    /// Waits for a message and answers it; false if it was the last.
    async fn turn(&mut self) -> Result<bool, Ended> {
        let Some(message) = self.next().await? else { return Ok(true) };
        // What was allowed when the connection opened may have ended.
        if let Err(reason) = self.server.guard.admit(&self.user) {
            return Err(Ended::Wrong(Failure::fatal("28000", reason)));
        }
        match message {
            Message::Terminate => return Ok(false),
            Message::Sync => self.sync(),
            _ if self.skips => {}
            Message::Query(text) => {
                self.portals.remove("");
                self.simple(&text).await?;
            }
            Message::Flush => {}
            Message::Other(kind @ (b'd' | b'c' | b'f')) => {
                // What a client sends while nothing is copied in is skipped, as PostgreSQL does.
                tracing::debug!(kind, "message of copying in was skipped");
            }
            Message::Other(kind) => {
                let message = format!("there is no message of kind {:?}", char::from(kind));
                return Err(Ended::Wrong(Failure::protocol(message)));
            }
            extended => {
                if let Err(failure) = self.extended(extended).await? {
                    self.fail(&failure);
                    self.skips = true;
                }
            }
        }
        Ok(true)
    }

    /// The next message; none if portals ended meanwhile.
    async fn next(&mut self) -> Result<Option<Message>, Ended> {
        let idle = Instant::now() + self.server.idle;
        let until = self.portals.values().filter_map(Portal::deadline).min();
        let wait = until.map_or(idle, |until| until.min(idle));
        let stopping = self.server.stopping.clone();
        let next = tokio::select! {
            biased;
            () = stopping.cancelled() => {
                return Err(Ended::Wrong(Failure::fatal("57P01", "terminating connection: the server is stopping")));
            }
            next = tokio::time::timeout_at(wait, self.channel.message()) => next,
        };
        match next {
            Ok(Ok(message)) => Ok(Some(message)),
            Ok(Err(Ended::Wrong(failure))) if !failure.is_fatal => {
                self.fail(&failure);
                self.skips = true;
                Ok(None)
            }
            Ok(Err(ended)) => Err(ended),
            Err(_) if wait < idle => {
                let now = Instant::now();
                self.portals.values_mut().for_each(|portal| portal.end_at(now));
                Ok(None)
            }
            Err(_) => {
                Err(Ended::Wrong(Failure::fatal("57P05", "connection was closed: nothing was asked for too long")))
            }
        }
    }

    fn fail(&mut self, failure: &Failure) {
        failure.write(&mut self.channel.out);
        self.server.meter.statement(false);
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
    }

    fn sync(&mut self) {
        self.skips = false;
        if self.transaction == Transaction::None {
            self.portals.clear();
        }
        self.ready();
    }

    /// A string of statements, each answered before the next; the first that fails is the last.
    async fn simple(&mut self, text: &str) -> Result<(), Ended> {
        let statements = script::statements(text);
        if statements.is_empty() {
            self.channel.out.empty(b'I');
        }
        if statements.len() > limits::SCRIPT_MAX {
            let message = format!("too many statements in one string statements_max={}", limits::SCRIPT_MAX);
            self.fail(&Failure::new("54000", message));
            self.ready();
            return Ok(());
        }
        for range in statements {
            let done = self.statement(&text[range.clone()]).await?;
            match done {
                Ok(()) => self.server.meter.statement(true),
                Err(failure) => {
                    let before = text[..range.start].chars().count();
                    let position = failure.position.map(|position| position + before);
                    self.fail(&Failure { position, ..failure });
                    break;
                }
            }
        }
        self.ready();
        Ok(())
    }

    async fn statement(&mut self, text: &str) -> Result<Result<(), Failure>, Ended> {
        let kind = match script::kind(text).and_then(|kind| self.allowed(kind)) {
            Ok(kind) => kind,
            Err(failure) => return Ok(Err(failure)),
        };
        let running = self.key.begin();
        let done = match self.answer(&kind, text, &[], &running).await? {
            Ok(Outcome::Done(tag)) => {
                complete(&mut self.channel.out, &tag);
                Ok(())
            }
            Ok(Outcome::Rows(mut rows)) => {
                rows.describe(&mut self.channel.out);
                self.send_rows(&mut rows, None, &running).await?.map(|_| ())
            }
            Err(failure) => Err(failure),
        };
        self.key.end();
        Ok(done)
    }

    /// May a statement be answered in this transaction?
    fn allowed(&self, kind: Kind) -> Result<Kind, Failure> {
        match (self.transaction, &kind) {
            (Transaction::Failed, Kind::Commit | Kind::Rollback | Kind::RollbackTo | Kind::Empty)
            | (Transaction::None | Transaction::Open, _) => Ok(kind),
            (Transaction::Failed, _) => {
                let message = "current transaction is aborted, commands ignored until end of transaction block";
                Err(Failure::new("25P02", message))
            }
        }
    }

    /// How long a statement that begins now may take, if that is less than the engine allows.
    fn deadline(&self) -> Option<(Instant, Duration)> {
        self.settings.statement_timeout().map(|limit| (Instant::now() + limit, limit))
    }

    /// Waits for work, unless it is canceled, its time is over, or the client is gone.
    async fn work<T>(
        channel: &mut Channel,
        work: impl Future<Output = Result<T, Failure>>,
        deadline: Option<(Instant, Duration)>,
        running: &CancellationToken,
    ) -> Result<Result<T, Failure>, Ended> {
        let late = async {
            match deadline {
                Some((at, limit)) => {
                    tokio::time::sleep_until(at).await;
                    limit
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = running.cancelled() => Ok(Err(Failure::canceled("canceling statement due to user request"))),
            done = work => Ok(done),
            limit = late => {
                let message = format!("canceling statement due to statement timeout limit_ms={}", limit.as_millis());
                Ok(Err(Failure::canceled(&message)))
            }
            () = channel.gone() => Err(Ended::Gone),
        }
    }
}

/// Tells a client of a setting.
fn report(out: &mut Out, name: &str, value: &str) {
    out.message(b'S', |out| {
        out.text(name);
        out.text(value);
    });
}

/// Tells a client that a statement has ended.
fn complete(out: &mut Out, tag: &str) {
    out.message(b'C', |out| out.text(tag));
}
