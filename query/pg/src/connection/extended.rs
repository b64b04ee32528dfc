//! The extended way to ask: statements are prepared, bound to values as portals, described, and run in pieces.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use query::{
    Parameter,
    types::{self, Oid},
};
use tokio::{sync::OnceCell, time::Instant};

use super::{
    Connection,
    answer::Outcome,
    complete,
    rows::{Rows, Sent, describe, spread},
};
use crate::{
    failure::Failure,
    limits, parameter,
    script::{self, Kind},
    wire::{Bind, Ended, Message, Named},
};

/// A prepared statement.
pub(super) struct Statement {
    text: String,
    kind: Kind,
    /// Types that the client stated; zero is none.
    types: Vec<Oid>,
    /// Found when somebody asks.
    shape: OnceCell<Shape>,
}

/// What a statement takes and gives.
#[derive(Debug, Clone)]
struct Shape {
    types: Vec<Oid>,
    /// None if it gives no rows.
    schema: Option<SchemaRef>,
}

/// A statement with values.
pub(super) struct Portal {
    statement: Arc<Statement>,
    parameters: Vec<Parameter>,
    formats: Vec<bool>,
    state: State,
}

enum State {
    /// Not begun.
    Bound,
    Running(Box<Rows>),
    /// All was sent.
    Ended,
    /// Its time was over while the client did something else.
    Late,
}

/// What is good, what the client is told instead, or the end of the connection.
type Done<T> = Result<Result<T, Failure>, Ended>;

/// Hands a failure on to the client.
macro_rules! good {
    ($result:expr) => {
        match $result {
            Ok(good) => good,
            Err(failure) => return Ok(Err(failure)),
        }
    };
}

impl Portal {
    /// Until when it can wait.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Running(rows) => rows.deadline(),
            _ => None,
        }
    }

    /// Ends it if its time is over.
    pub fn end_at(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.state = State::Late;
        }
    }
}

impl Connection {
    /// Answers a message of the extended way.
    pub(super) async fn extended(&mut self, message: Message) -> Done<()> {
        match message {
            Message::Parse { name, text, types } => return Ok(self.parse(name, &text, types)),
            Message::Bind(bind) => return self.bind(bind).await,
            Message::Describe { what: Named::Statement, name } => return self.describe_statement(&name).await,
            Message::Describe { what: Named::Portal, name } => return self.describe_portal(&name).await,
            Message::Execute { portal, rows_max } => return self.execute(&portal, rows_max).await,
            Message::Close { what: Named::Statement, name } => {
                self.statements.remove(&name);
            }
            Message::Close { what: Named::Portal, name } => {
                self.portals.remove(&name);
            }
            _ => return Ok(Ok(())),
        }
        self.channel.out.empty(b'3');
        Ok(Ok(()))
    }

    fn parse(&mut self, name: String, text: &str, types: Vec<Oid>) -> Result<(), Failure> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Failure::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        let ranges = script::statements(text);
        if ranges.len() > 1 {
            return Err(Failure::new("42601", "cannot insert multiple commands into a prepared statement"));
        }
        // From the begin of the text, so that places in it stay what they are.
        let text = ranges.first().map_or("", |range| &text[..range.end]);
        let held: usize = self.statements.values().map(|statement| statement.text.len()).sum();
        if self.statements.len() >= limits::STATEMENTS_MAX || held + text.len() > limits::STATEMENTS_BYTES_MAX {
            let message = format!("too many prepared statements: close some statements_max={}", limits::STATEMENTS_MAX);
            return Err(Failure::new("53400", message));
        }
        let kind = self.allowed(script::kind(text)?)?;
        let statement = Statement { text: text.to_owned(), kind, types, shape: OnceCell::new() };
        self.statements.insert(name, Arc::new(statement));
        self.channel.out.empty(b'1');
        Ok(())
    }

    fn prepared(&self, name: &str) -> Result<Arc<Statement>, Failure> {
        let missing = || Failure::new("26000", format!("prepared statement \"{name}\" does not exist"));
        self.statements.get(name).cloned().ok_or_else(missing)
    }

    async fn bind(&mut self, bind: Bind) -> Done<()> {
        let Bind { portal, statement, formats, values, results } = bind;
        good!(self.check_portal(&portal));
        let statement = good!(self.prepared(&statement));
        let formats = good!(spread(&formats, values.len()));
        // Of what was not described it is known when it is asked.
        if let (Kind::Query(_), Some(shape)) = (&statement.kind, statement.shape.get())
            && values.len() < shape.types.len()
        {
            let message = format!("{} values for {} parameters", values.len(), shape.types.len());
            return Ok(Err(Failure::new("08P01", message)));
        }
        let stated = |at: usize| statement.types.get(at).copied().unwrap_or(0);
        // A value in binary is only bits until its type is known.
        let types = if (0..values.len()).any(|at| formats[at] && stated(at) == 0) {
            good!(self.shape(&statement).await?).types
        } else {
            // What the client was told is what it means.
            statement.shape.get().map_or_else(|| statement.types.clone(), |shape| shape.types.clone())
        };
        let read = values.iter().enumerate().map(|(at, value)| {
            let oid = types.get(at).copied().unwrap_or(0);
            parameter::read(value.as_ref(), oid, formats[at])
        });
        let parameters = good!(read.collect::<Result<Vec<_>, _>>());
        self.portals.insert(portal, Portal { statement, parameters, formats: results, state: State::Bound });
        self.channel.out.empty(b'2');
        Ok(Ok(()))
    }

    fn check_portal(&self, name: &str) -> Result<(), Failure> {
        let is_there = self.portals.contains_key(name);
        if is_there && !name.is_empty() {
            return Err(Failure::new("42P03", format!("cursor \"{name}\" already exists")));
        }
        if !is_there && self.portals.len() >= limits::PORTALS_MAX {
            let message = format!("too many portals: close some portals_max={}", limits::PORTALS_MAX);
            return Err(Failure::new("53400", message));
        }
        Ok(())
    }

    /// Finds what a statement takes and gives.
    async fn shape(&mut self, statement: &Arc<Statement>) -> Done<Shape> {
        if let Some(shape) = statement.shape.get() {
            return Ok(Ok(shape.clone()));
        }
        let shape = match &statement.kind {
            Kind::Query(_) => good!(self.planned(statement).await?),
            Kind::Show(_) => {
                let running = self.key.begin();
                let schema = match good!(self.answer(&statement.kind, "", &[], &running).await?) {
                    Outcome::Rows(rows) => Some(rows.schema()),
                    Outcome::Done(_) => None,
                };
                Shape { types: Vec::new(), schema }
            }
            _ => Shape { types: statement.types.clone(), schema: None },
        };
        // Whoever was first has found the same.
        let _ = statement.shape.set(shape.clone());
        Ok(Ok(shape))
    }

    async fn planned(&mut self, statement: &Statement) -> Done<Shape> {
        let known: Vec<Option<&'static str>> = statement.types.iter().map(|oid| types::sql(*oid)).collect();
        let (engine, text) = (self.server.engine.clone(), &statement.text);
        let work = async { engine.describe(text, &known).await.map_err(|error| Failure::of(&error, text)) };
        let (running, deadline) = (self.key.begin(), self.deadline());
        let described = Self::work(&mut self.channel, work, deadline, &running).await?;
        self.key.end();
        let described = good!(described);
        let oid = |(at, found): (usize, &Option<_>)| match statement.types.get(at) {
            Some(stated) if *stated != 0 => *stated,
            // What planning cannot tell is a text, as it is for PostgreSQL.
            _ => found.as_ref().map_or(types::TEXT, types::of),
        };
        let types = described.parameters.iter().enumerate().map(oid).collect();
        Ok(Ok(Shape { types, schema: Some(described.schema) }))
    }

    async fn describe_statement(&mut self, name: &str) -> Done<()> {
        let statement = good!(self.prepared(name));
        let shape = good!(self.shape(&statement).await?);
        self.channel.out.message(b't', |out| {
            out.put_u16(u16::try_from(shape.types.len()).unwrap_or(u16::MAX));
            shape.types.iter().for_each(|oid| out.put_u32(*oid));
        });
        match &shape.schema {
            Some(schema) => describe(schema, &[], &mut self.channel.out),
            None => self.channel.out.empty(b'n'),
        }
        Ok(Ok(()))
    }

    async fn describe_portal(&mut self, name: &str) -> Done<()> {
        let Some(portal) = self.portals.get(name) else { return Ok(Err(no_portal(name))) };
        // What changes the connection is not run before it is asked to; what reads may begin.
        if matches!(portal.statement.kind, Kind::Query(_) | Kind::Show(_)) {
            good!(self.start(name).await?);
        }
        match self.portals.get(name).map(|portal| &portal.state) {
            Some(State::Running(rows)) => rows.describe(&mut self.channel.out),
            _ => self.channel.out.empty(b'n'),
        }
        Ok(Ok(()))
    }

    /// Begins what a portal asks; gives what it ended with at once.
    async fn start(&mut self, name: &str) -> Done<Option<String>> {
        let Some(portal) = self.portals.get(name) else { return Ok(Err(no_portal(name))) };
        if !matches!(portal.state, State::Bound) {
            return Ok(Ok(None));
        }
        let (statement, parameters) = (Arc::clone(&portal.statement), portal.parameters.clone());
        let formats = portal.formats.clone();
        let kind = good!(self.allowed(statement.kind.clone()));
        let running = self.key.begin();
        let outcome = self.answer(&kind, &statement.text, &parameters, &running).await?;
        self.key.end();
        let (state, tag) = match good!(outcome) {
            Outcome::Done(tag) => (State::Ended, Some(tag)),
            Outcome::Rows(mut rows) => {
                good!(rows.set_formats(&formats));
                (State::Running(rows), None)
            }
        };
        // The end of a transaction has taken it along.
        if let Some(portal) = self.portals.get_mut(name) {
            portal.state = state;
        }
        Ok(Ok(tag))
    }

    async fn execute(&mut self, name: &str, rows_max: usize) -> Done<()> {
        if let Some(tag) = good!(self.start(name).await?) {
            match tag.as_str() {
                "" => self.channel.out.empty(b'I'),
                tag => complete(&mut self.channel.out, tag),
            }
            self.server.meter.statement(true);
            return Ok(Ok(()));
        }
        let Some(portal) = self.portals.get_mut(name) else { return Ok(Err(no_portal(name))) };
        let mut rows = match std::mem::replace(&mut portal.state, State::Ended) {
            State::Running(rows) => rows,
            State::Late => {
                return Ok(Err(Failure::canceled(
                    "canceling statement due to statement timeout: its rows were not taken",
                )));
            }
            State::Bound | State::Ended => {
                // All rows were sent; there are no more.
                complete(&mut self.channel.out, "SELECT 0");
                return Ok(Ok(()));
            }
        };
        let running = self.key.begin();
        let sent = self.send_rows(&mut rows, (rows_max > 0).then_some(rows_max), &running).await?;
        self.key.end();
        match good!(sent) {
            Sent::All => self.server.meter.statement(true),
            Sent::Some => {
                if let Some(portal) = self.portals.get_mut(name) {
                    portal.state = State::Running(rows);
                }
            }
        }
        Ok(Ok(()))
    }
}

fn no_portal(name: &str) -> Failure {
    Failure::new("34000", format!("portal \"{name}\" does not exist"))
}
