//! Reads a file: bytes to records, records to rows, rows to batches, and a report of it all.
//!
//! Called by whoever loads a delivery, a batch at a time, so that memory is bounded whatever the size of the file.
//!
//! Invariants: what is wrong with a row is in the report and costs its neighbours nothing; an error ends the file.

use std::io::{BufReader, Cursor, Read};

use arrow::array::RecordBatch;
use flate2::read::MultiGzDecoder;
use parquet::file::reader::ChunkReader;

use crate::{
    check::{Checker, Scope},
    csv::Csv,
    detect::{self, Container, Delivery, Format},
    error::{Error, Result},
    jsonl::JsonLines,
    mapping::{self, Mapping},
    nested::Nested,
    options::Options,
    record::{COLUMNS_MAX, Header, Next, Record},
    report::{Finding, Report},
    sink::Sink,
};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const PARQUET: &[u8] = b"PAR1";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of compressed input that are held.
const INPUT_BYTES: usize = 64 << 10;

/// A file that is read.
pub struct Reader {
    source: Source,
    mapping: Box<dyn Mapping + Send>,
    sink: Sink,
    options: Options,
    delivery: Delivery,
    /// Columns that the mapping knows of.
    columns: usize,
    /// Of files that are FOCUS: do they follow it?
    checker: Option<Checker>,
}

/// Where records come from.
pub(crate) enum Source {
    Csv(Csv, Header),
    JsonLines(JsonLines),
    Parquet(Nested),
}

/// Tells what a file of text is from its begin, whatever the options it needs to be read.
///
/// # Errors
/// `Invalid` if it is no billing export, with what it is nearest to; else that it cannot be read.
pub fn detect(input: impl Read + Send + 'static, file: &str) -> Result<Delivery> {
    let source = Source::open(input, file)?;
    Ok(Delivery { format: detect::format(source.header(), file)?, container: source.container() })
}

impl Reader {
    /// Opens a file of text, compressed with gzip or not.
    ///
    /// # Errors
    /// `Invalid` if it is no billing export or the options do not fit it, else that it cannot be read.
    pub fn open(input: impl Read + Send + 'static, options: Options) -> Result<Self> {
        let source = Source::open(input, &options.file)?;
        Self::new(source, options)
    }

    /// Opens a Parquet file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_parquet(input: impl ChunkReader + 'static, options: Options) -> Result<Self> {
        let nested = Nested::open(input, &options.file)?;
        Self::new(Source::Parquet(nested), options)
    }

    fn new(source: Source, options: Options) -> Result<Self> {
        let container = source.container();
        let header = source.header();
        let format = options.format.map_or_else(|| detect::format(header, &options.file), Ok)?;
        let mapping = mapping::of(format, header, &options)?;
        let columns = header.names.len();
        let sink = Sink::new(&options)?;
        let checker = (format == Format::Focus).then(|| Checker::new(header, None, Scope::Musts));
        Ok(Self { source, mapping, sink, delivery: Delivery { format, container }, options, columns, checker })
    }

    /// What the file is.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// What became of the file so far.
    #[must_use]
    pub fn report(&mut self) -> Report {
        let mut report = self.sink.tally.report();
        let violations = self.checker.as_ref().map(|checker| checker.violations(self.source.header()));
        for violation in violations.into_iter().flatten() {
            let first = violation.first.first().map(|sample| format!("line {}: {}", sample.line, sample.value));
            let finding = Finding { rows: violation.rows, first: first.unwrap_or_default() };
            report.findings.insert(violation.rule.id, finding);
        }
        report
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// That the file cannot be read any further.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.sink.batch.is_full() {
            match self.source.next()? {
                Next::End => break,
                Next::Broken { line, reason } => {
                    self.sink.tally.read();
                    if let Some(checker) = &mut self.checker {
                        checker.broken(line, &reason);
                    }
                    self.sink.tally.reject(line, None, &reason, &self.source.text());
                }
                Next::Record { line } => {
                    self.sink.tally.read();
                    self.record(line)?;
                }
            }
        }
        if self.sink.batch.is_empty() { Ok(None) } else { self.sink.batch.take().map(Some) }
    }

    fn record(&mut self, line: u64) -> Result<()> {
        if self.source.header().names.len() != self.columns {
            // Lines of JSON may have members that none before had.
            self.columns = self.source.header().names.len();
            self.mapping = mapping::of(self.delivery.format, self.source.header(), &self.options)?;
            if let Some(checker) = &mut self.checker {
                checker.adapt(self.source.header());
            }
            self.sink.batch.forget();
        }
        let tally = &mut self.sink.tally;
        let Some(record) = self.source.record() else {
            tally.reject(line, None, "no UTF-8", &self.source.text());
            return Ok(());
        };
        let floats = &self.source.header().floats;
        if !floats.is_empty() {
            let names = || floats.iter().map(|slot| self.source.header().name(*slot)).collect::<Vec<_>>().join(", ");
            tally.find("binary-float", names);
        }
        if let Some(checker) = &mut self.checker {
            checker.row(&record, line);
        }
        match self.mapping.map(&record, &mut self.sink) {
            Ok(()) => self.sink.batch.count_bytes(record.raw.len()),
            Err(fault) => self.sink.tally.reject(line, Some(&fault.column), &fault.reason, record.raw),
        }
        Ok(())
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl Source {
    /// Opens a file of text.
    pub(crate) fn open(input: impl Read + Send + 'static, file: &str) -> Result<Self> {
        let failed = |error| Error::reading(error, file);
        let (head, input) = peek(input, 4).map_err(failed)?;
        if head.starts_with(PARQUET) {
            return Err(Error::invalid(format!("{file} is Parquet, which is not read as a stream")));
        }
        let is_gzip = head.starts_with(&GZIP);
        let plain: Box<dyn Read + Send> = if is_gzip {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(INPUT_BYTES, input)))
        } else {
            Box::new(input)
        };
        let (mark, rest) = peek(plain, BYTE_ORDER_MARK.len()).map_err(failed)?;
        let plain: Box<dyn Read + Send> =
            if mark == BYTE_ORDER_MARK { Box::new(rest.into_inner().1) } else { Box::new(rest) };
        let (start, plain) = peek(plain, 1).map_err(failed)?;
        if start == b"{" {
            JsonLines::open(Box::new(plain), file).map(Self::JsonLines)
        } else {
            let mut csv = Csv::new(Box::new(plain), file);
            let header = header(&mut csv, file)?;
            Ok(Self::Csv(csv, header))
        }
    }

    pub(crate) fn container(&self) -> Container {
        match self {
            Self::Csv(..) => Container::Csv,
            Self::JsonLines(_) => Container::JsonLines,
            Self::Parquet(_) => Container::Parquet,
        }
    }

    pub(crate) fn header(&self) -> &Header {
        match self {
            Self::Csv(_, header) => header,
            Self::JsonLines(lines) => &lines.header,
            Self::Parquet(nested) => &nested.header,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Next> {
        match self {
            Self::Csv(csv, header) => csv.next(Some(header.names.len())),
            Self::JsonLines(lines) => lines.next(),
            Self::Parquet(nested) => nested.next(),
        }
    }

    pub(crate) fn record(&self) -> Option<Record<'_>> {
        match self {
            Self::Csv(csv, _) => csv.record(),
            Self::JsonLines(lines) => Some(lines.record()),
            Self::Parquet(nested) => Some(nested.record()),
        }
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Csv(csv, _) => csv.text(),
            Self::JsonLines(lines) => lines.text(),
            Self::Parquet(nested) => nested.record().raw.into(),
        }
    }
}

fn header(csv: &mut Csv, file: &str) -> Result<Header> {
    match csv.next(None)? {
        Next::Record { .. } => {}
        Next::Broken { reason, .. } => return Err(Error::invalid(format!("{file} has no header: {reason}"))),
        Next::End => return Err(Error::invalid(format!("{file} is empty: looked for a header"))),
    }
    let Some(record) = csv.record() else { return Err(Error::invalid(format!("{file} has no header: no UTF-8"))) };
    if record.spans.len() > COLUMNS_MAX {
        return Err(Error::invalid(format!("{file} has no header: it has more than {COLUMNS_MAX} columns")));
    }
    Ok(Header::new((0..record.spans.len()).map(|slot| record.get(slot).trim().to_owned()).collect()))
}

/// An input with the bytes in front of it that were looked at.
type Peeked<R> = std::io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes of an input, and the input with them.
fn peek<R: Read>(mut input: R, bytes: usize) -> std::io::Result<(Vec<u8>, Peeked<R>)> {
    let mut head = Vec::with_capacity(bytes);
    input.by_ref().take(bytes as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(input)))
}

#[cfg(test)]
mod tests;
