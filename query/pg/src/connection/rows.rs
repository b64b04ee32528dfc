//! Sends the rows of an answer, as rows or as lines of a copy.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use futures::StreamExt;
use query::{Error, types};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Connection, answer::Running, complete};
use crate::{
    failure::Failure,
    limits,
    script::Copy,
    value::{Column, is_plain_byte},
    wire::{Ended, Out},
};

/// Where rows come from.
pub(super) enum Source {
    /// The engine, which may still be at work.
    Engine(Running),
    /// Known already.
    Here(Option<RecordBatch>),
}

/// Rows that are being sent.
pub(super) struct Rows {
    /// None once it has ended, so that its place among the running queries is free.
    source: Option<Source>,
    schema: SchemaRef,
    /// Whether each column is in binary.
    formats: Vec<bool>,
    tag: &'static str,
    copy: Option<Copy>,
    /// Rows that came and were not sent.
    rest: Option<RecordBatch>,
    sent: usize,
    /// Rows sent since it was last asked for some.
    sent_now: usize,
}

/// Did all rows go out?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// The limit of rows was met first.
    Some,
}

impl Rows {
    pub fn new(source: Source, tag: &'static str, copy: Option<Copy>) -> Self {
        let schema = match &source {
            Source::Engine(running) => Arc::clone(&running.answer.schema),
            Source::Here(Some(batch)) => batch.schema(),
            Source::Here(None) => Arc::new(Schema::empty()),
        };
        let formats = vec![false; schema.fields().len()];
        Self { source: Some(source), schema, formats, tag, copy, rest: None, sent: 0, sent_now: 0 }
    }

    /// Columns in binary: none, one for all, or one for each.
    pub fn set_formats(&mut self, formats: &[bool]) -> Result<(), Failure> {
        if self.copy.is_none() {
            self.formats = spread(formats, self.schema.fields().len())?;
        }
        Ok(())
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Until when it may be waited for.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.source {
            Some(Source::Engine(running)) => Some(running.until),
            _ => None,
        }
    }

    /// Says what columns there are; a copy says so in another way when it begins.
    pub fn describe(&self, out: &mut Out) {
        if self.copy.is_none() {
            describe(&self.schema, &self.formats, out);
        }
    }
}

/// Says what columns an answer has.
pub(super) fn describe(schema: &SchemaRef, formats: &[bool], out: &mut Out) {
    out.message(b'T', |out| {
        out.put_u16(u16::try_from(schema.fields().len()).unwrap_or(u16::MAX));
        for (at, field) in schema.fields().iter().enumerate() {
            let oid = types::of(field.data_type());
            out.text(field.name());
            // No table and no column of it: clients would look for both in the catalog.
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(oid);
            out.bytes(&types::size(oid).to_be_bytes());
            out.bytes(&types::modifier(field.data_type()).to_be_bytes());
            out.put_u16(u16::from(formats.get(at).copied().unwrap_or(false)));
        }
    });
}

/// One format for each of `count`, from none, one for all, or one for each.
pub(super) fn spread(formats: &[bool], count: usize) -> Result<Vec<bool>, Failure> {
    match formats {
        [] => Ok(vec![false; count]),
        [one] => Ok(vec![*one; count]),
        all if all.len() == count => Ok(all.to_vec()),
        all => Err(Failure::protocol(format!("{} formats for {count} values", all.len()))),
    }
}

impl Connection {
    /// Sends rows, at most `rows_max` of them; says that the statement has ended if they were all.
    pub(super) async fn send_rows(
        &mut self,
        rows: &mut Rows,
        rows_max: Option<usize>,
        running: &CancellationToken,
    ) -> Result<Result<Sent, Failure>, Ended> {
        begin_copy(rows, &mut self.channel.out);
        rows.sent_now = 0;
        // Lines of a copy have no limit, as in PostgreSQL.
        let most = rows_max.filter(|_| rows.copy.is_none()).unwrap_or(usize::MAX);
        while rows.sent_now < most {
            let batch = match self.batch(rows, running).await? {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    finish(rows, &mut self.channel.out);
                    return Ok(Ok(Sent::All));
                }
                Err(failure) => {
                    rows.source = None;
                    return Ok(Err(failure));
                }
            };
            let count = batch.num_rows().min(most - rows.sent_now);
            if count < batch.num_rows() {
                rows.rest = Some(batch.slice(count, batch.num_rows() - count));
            }
            if let Err(failure) = self.send_batch(&rows.formats, rows.copy.as_ref(), &batch.slice(0, count)).await? {
                rows.source = None;
                return Ok(Err(failure));
            }
            rows.sent += count;
            rows.sent_now += count;
            self.server.meter.rows(count);
        }
        self.channel.out.empty(b's');
        Ok(Ok(Sent::Some))
    }

    async fn batch(
        &mut self,
        rows: &mut Rows,
        running: &CancellationToken,
    ) -> Result<Result<Option<RecordBatch>, Failure>, Ended> {
        if let Some(rest) = rows.rest.take() {
            return Ok(Ok(Some(rest)));
        }
        match &mut rows.source {
            None => Ok(Ok(None)),
            Some(Source::Here(batch)) => Ok(Ok(batch.take())),
            Some(Source::Engine(Running { answer, deadline, .. })) => {
                let next = async {
                    let next = answer.stream.next().await.transpose();
                    next.map_err(|error| Failure::of(&Error::from(error), ""))
                };
                Self::work(&mut self.channel, next, *deadline, running).await
            }
        }
    }

    async fn send_batch(
        &mut self,
        formats: &[bool],
        copy: Option<&Copy>,
        batch: &RecordBatch,
    ) -> Result<Result<(), Failure>, Ended> {
        let columns = batch.columns().iter().zip(formats).map(|(array, format)| Column::new(array, *format));
        let mut columns = match columns.collect::<Result<Vec<_>, _>>() {
            Ok(columns) => columns,
            Err(error) => return Ok(Err(Failure::of(&error, ""))),
        };
        let lines = copy.map(Lines::new);
        let mut rows = 0..batch.num_rows();
        while !rows.is_empty() {
            let out = &mut self.channel.out;
            while out.len() < limits::SEND_BYTES
                && let Some(row) = rows.next()
            {
                match &lines {
                    None => data_row(&mut columns, row, out),
                    Some(lines) => lines.write(&mut columns, row, out),
                }
            }
            self.channel.send_much().await?;
        }
        Ok(Ok(()))
    }
}

fn data_row(columns: &mut [Column], row: usize, out: &mut Out) {
    out.message(b'D', |out| {
        out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
        columns.iter_mut().for_each(|column| column.write(row, out));
    });
}

/// Says that all rows were sent.
fn finish(rows: &mut Rows, out: &mut Out) {
    rows.source = None;
    match rows.tag {
        "COPY" => {
            out.empty(b'c');
            complete(out, &format!("COPY {}", rows.sent));
        }
        // What is told are the rows of this piece, as PostgreSQL does.
        "SELECT" => complete(out, &format!("SELECT {}", rows.sent_now)),
        tag => complete(out, tag),
    }
}

fn begin_copy(rows: &Rows, out: &mut Out) {
    let Some(copy) = &rows.copy else { return };
    let columns = u16::try_from(rows.schema.fields().len()).unwrap_or(u16::MAX);
    out.message(b'H', |out| {
        out.put_u8(0);
        out.put_u16(columns);
        (0..columns).for_each(|_| out.put_u16(0));
    });
    if copy.has_header {
        let lines = Lines::new(copy);
        out.message(b'd', |out| {
            for (at, field) in rows.schema.fields().iter().enumerate() {
                if at > 0 {
                    out.put_u8(copy.delimiter);
                }
                lines.value(out, |out| out.bytes(field.name().as_bytes()));
            }
            out.put_u8(b'\n');
        });
    }
}

/// Lines of a copy.
struct Lines<'a> {
    copy: &'a Copy,
    /// Bytes that a value does not have as they are.
    is_special: [bool; 256],
    /// Can no number or time be read as the end of itself, or as null?
    spares_plain: bool,
}

impl<'a> Lines<'a> {
    fn new(copy: &'a Copy) -> Self {
        let special: &[u8] = if copy.is_csv { b"\"\n\r" } else { b"\\\x08\t\n\x0b\x0c\r" };
        let mut is_special = [false; 256];
        special.iter().chain([&copy.delimiter]).for_each(|byte| is_special[usize::from(*byte)] = true);
        let is_apart = |byte: &u8| !is_plain_byte(*byte);
        let null = copy.null.as_bytes();
        let spares_plain = is_apart(&copy.delimiter) && (!copy.is_csv || null.is_empty() || null.iter().any(is_apart));
        Self { copy, is_special, spares_plain }
    }

    fn write(&self, columns: &mut [Column], row: usize, out: &mut Out) {
        out.message(b'd', |out| {
            for (at, column) in columns.iter_mut().enumerate() {
                if at > 0 {
                    out.put_u8(self.copy.delimiter);
                }
                if column.is_null(row) {
                    out.bytes(self.copy.null.as_bytes());
                } else if self.spares_plain && column.is_plain() {
                    column.bare(row, out);
                } else {
                    self.value(out, |out| column.bare(row, out));
                }
            }
            out.put_u8(b'\n');
        });
    }

    /// A value, written as it is, then put so that nothing in it is read as the end of it.
    fn value(&self, out: &mut Out, write: impl FnOnce(&mut Out)) {
        let begin = out.len();
        write(out);
        let value = &out.as_bytes()[begin..];
        let is_special = value.iter().any(|byte| self.is_special[usize::from(*byte)]);
        match (self.copy.is_csv, is_special) {
            (false, false) => {}
            (false, true) => escape(&out.take_from(begin), self.copy.delimiter, out),
            (true, false) if value != self.copy.null.as_bytes() && value != b"\\." => {}
            (true, _) => quote(&out.take_from(begin), out),
        }
    }
}

fn quote(value: &[u8], out: &mut Out) {
    out.put_u8(b'"');
    for byte in value {
        if *byte == b'"' {
            out.put_u8(b'"');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

fn escape(value: &[u8], delimiter: u8, out: &mut Out) {
    for byte in value {
        let letter = match byte {
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0b => b'v',
            0x0c => b'f',
            b'\r' => b'r',
            byte if *byte == b'\\' || *byte == delimiter => *byte,
            byte => {
                out.put_u8(*byte);
                continue;
            }
        };
        out.bytes(&[b'\\', letter]);
    }
}
