//! Runs one statement: by the engine, or from the closed list.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use query::{Answer, Error, Parameter};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Connection, Transaction, report,
    rows::{Rows, Source},
};
use crate::{
    failure::Failure,
    script::{Copy, Kind},
    wire::{Ended, Out},
};

/// What came of a statement.
pub(super) enum Outcome {
    /// It has ended; with what that is told by.
    Done(String),
    /// It gives rows.
    Rows(Box<Rows>),
}

/// An answer of the engine, and until when it may take.
pub(super) struct Running {
    pub answer: Answer,
    pub deadline: Option<(Instant, Duration)>,
    /// Until when rows may wait to be asked for.
    pub until: Instant,
}

impl Connection {
    /// Begins to answer a statement.
    pub(super) async fn answer(
        &mut self,
        kind: &Kind,
        text: &str,
        parameters: &[Parameter],
        running: &CancellationToken,
    ) -> Result<Result<Outcome, Failure>, Ended> {
        let done = match kind {
            Kind::Query(tag) => {
                let asked = self.ask(text, parameters, running).await?;
                return Ok(asked.map(|asked| Outcome::Rows(Box::new(Rows::new(Source::Engine(asked), tag, None)))));
            }
            Kind::Copy(copy) => {
                return Ok(self
                    .copied(copy, text, parameters, running)
                    .await?
                    .map(|rows| Outcome::Rows(Box::new(rows))));
            }
            Kind::Show(name) => return Ok(self.show(name).map(|rows| Outcome::Rows(Box::new(rows)))),
            Kind::Empty => Ok(String::new()),
            Kind::Ignored(tag) => Ok((*tag).to_owned()),
            Kind::Set { name, value } => self.set(name, value.as_deref()).map(|()| "SET".to_owned()),
            Kind::Reset(name) => match name {
                Some(name) => self.set(name, None),
                None => {
                    self.settings.reset();
                    Ok(())
                }
            }
            .map(|()| "RESET".to_owned()),
            Kind::Begin(tag) => {
                self.transaction = Transaction::Open;
                Ok((*tag).to_owned())
            }
            Kind::Commit if self.transaction == Transaction::Failed => Ok(self.end_transaction("ROLLBACK")),
            Kind::Commit => Ok(self.end_transaction("COMMIT")),
            Kind::Rollback => Ok(self.end_transaction("ROLLBACK")),
            // Nothing is written, so there is nothing to go back to but that no statement failed.
            Kind::Savepoint(_) | Kind::RollbackTo if self.transaction == Transaction::None => {
                Err(Failure::new("25P01", "savepoints are for transactions: begin one first"))
            }
            Kind::Savepoint(tag) => Ok((*tag).to_owned()),
            Kind::RollbackTo => {
                self.transaction = Transaction::Open;
                Ok("ROLLBACK".to_owned())
            }
            Kind::Discard { tag, is_all } => {
                if *is_all {
                    self.settings.reset();
                    self.statements.clear();
                }
                self.portals.clear();
                Ok(tag.clone())
            }
            Kind::Deallocate(name) => self.deallocate(name.as_deref()),
        };
        Ok(done.map(Outcome::Done))
    }

    fn end_transaction(&mut self, tag: &str) -> String {
        self.transaction = Transaction::None;
        self.portals.clear();
        tag.to_owned()
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<String, Failure> {
        let Some(name) = name else {
            self.statements.clear();
            return Ok("DEALLOCATE ALL".to_owned());
        };
        let missing = || Failure::new("26000", format!("prepared statement \"{name}\" does not exist"));
        self.statements.remove(name).map(|_| "DEALLOCATE".to_owned()).ok_or_else(missing)
    }

    async fn ask(
        &mut self,
        text: &str,
        parameters: &[Parameter],
        running: &CancellationToken,
    ) -> Result<Result<Running, Failure>, Ended> {
        let (deadline, engine) = (self.deadline(), self.server.engine.clone());
        let work = async {
            let answer = engine.sql_with(text, parameters).await;
            answer.map_err(|error: Error| Failure::of(&error, text))
        };
        let answer = Self::work(&mut self.channel, work, deadline, running).await?;
        let latest = Instant::now() + self.server.engine.timeout();
        let until = deadline.map_or(latest, |(at, _)| at.min(latest));
        Ok(answer.map(|answer| Running { answer, deadline, until }))
    }

    async fn copied(
        &mut self,
        copy: &Copy,
        text: &str,
        parameters: &[Parameter],
        running: &CancellationToken,
    ) -> Result<Result<Rows, Failure>, Ended> {
        let before = text[..copy.query.start].chars().count();
        let asked = self.ask(&text[copy.query.clone()], parameters, running).await?;
        Ok(match asked {
            Ok(asked) => Ok(Rows::new(Source::Engine(asked), "COPY", Some(copy.clone()))),
            Err(failure) => Err(Failure { position: failure.position.map(|position| position + before), ..failure }),
        })
    }

    fn show(&self, name: &str) -> Result<Rows, Failure> {
        let column = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
        let (names, columns) = if name == "all" {
            let (names, values) = self.settings.all().unzip();
            (vec!["name", "setting"], vec![column(names), column(values)])
        } else {
            (vec![shown(name)], vec![column(vec![self.settings.get(name)?])])
        };
        let fields: Vec<Field> = names.into_iter().map(|name| Field::new(name, DataType::Utf8, false)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        let batch = batch.map_err(|error| Failure::new("XX000", error.to_string()))?;
        Ok(Rows::new(Source::Here(Some(batch)), "SHOW", None))
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Failure> {
        let remark = self.settings.set(name, value)?;
        for (shown, value) in self.settings.reported().filter(|(shown, _)| shown.eq_ignore_ascii_case(name)) {
            report(&mut self.channel.out, shown, value);
        }
        if let Some(remark) = remark {
            notice(&mut self.channel.out, remark);
        }
        Ok(())
    }
}

/// The name of the column of a setting that is shown.
fn shown(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        other => other,
    }
}

fn notice(out: &mut Out, text: &str) {
    out.message(b'N', |out| {
        for (field, text) in [(b'S', "NOTICE"), (b'V', "NOTICE"), (b'C', "00000"), (b'M', text)] {
            out.put_u8(field);
            out.text(text);
        }
        out.put_u8(0);
    });
}
