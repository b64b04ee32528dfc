//! Cuts comma-separated text into records, at the speed of memory where nothing is quoted.
//!
//! Called by the reader, a record at a time. Fields stay where they are in the buffer; only a quoted field with quotes in it is copied.
//! `scan` looks at 64 bytes together, since most fields of a bill are empty or short: `csv-core`, a byte at a time, takes many times as long
//! (and is what the tests compare with).
//!
//! Invariants: memory is bounded by the largest record; a record that is broken costs its first line only, and the next line is a record
//! again, so that a quote that never closes takes no neighbours along. Not here: what fields mean.

mod scan;

use std::{borrow::Cow, io::Read, ops::Range};

use self::scan::{Stop, unquoted};
use crate::{
    error::{Error, Result},
    record::{Next, Record, Span},
};

/// Most bytes of a record: the largest real fields are tags and descriptions of some kilobytes.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;
/// Bytes asked for at once; they stay in the cache of a core.
const READ_BYTES: usize = 256 << 10;

/// Records of a text.
pub(crate) struct Csv {
    input: Box<dyn Read + Send>,
    file: String,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are read: `at..filled` is still to be cut.
    at: usize,
    filled: usize,
    is_at_end: bool,
    line: u64,
    spans: Vec<Span>,
    side: Vec<u8>,
    /// Where the record is that was found last.
    found: Range<usize>,
}

/// Where the record at hand ends, where the next begins, and the line ends between.
struct Found {
    end: usize,
    next: usize,
    lines: u64,
    /// A quoted field goes over several lines and on behind its closing quote: the quote was a stray one.
    is_torn: bool,
}

impl Csv {
    pub(crate) fn new(input: Box<dyn Read + Send>, file: &str) -> Self {
        Self {
            input,
            file: file.to_owned(),
            buffer: vec![0; READ_BYTES],
            at: 0,
            filled: 0,
            is_at_end: false,
            line: 1,
            spans: Vec::new(),
            side: Vec::new(),
            found: 0..0,
        }
    }

    /// The record that was found last, unless it is no text.
    pub(crate) fn record(&self) -> Option<Record<'_>> {
        let raw = str::from_utf8(self.buffer.get(self.found.clone())?).ok()?;
        Some(Record { raw, side: str::from_utf8(&self.side).ok()?, spans: &self.spans })
    }

    /// The bytes of the record that was found last, as text.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.buffer.get(self.found.clone()).unwrap_or_default())
    }

    /// Finds the next record of so many columns; of any number, if it is none.
    pub(crate) fn next(&mut self, columns: Option<usize>) -> Result<Next> {
        loop {
            if self.at == self.filled && !self.fill()? {
                return Ok(Next::End);
            }
            let Some(Found { end, next, lines, is_torn }) = self.cut() else {
                if self.filled - self.at >= RECORD_BYTES_MAX {
                    return Ok(self.broken(format!("no end within {RECORD_BYTES_MAX} bytes")));
                }
                if !self.fill()? {
                    return Ok(self.broken("a quote is never closed".to_owned()));
                }
                continue;
            };
            let (start, line) = (self.at, self.line);
            let fields = self.spans.len();
            if is_torn {
                return Ok(self.broken("a quote is closed in a later line, within a field".to_owned()));
            }
            if end > start && columns.is_some_and(|columns| columns != fields) {
                return Ok(self.broken(format!("{fields} fields, the header has {}", columns.unwrap_or_default())));
            }
            (self.at, self.line) = (next, line + lines);
            if end > start {
                self.found = start..end;
                return Ok(Next::Record { line });
            }
        }
    }

    /// Gives up the line at hand, and goes on behind it.
    fn broken(&mut self, reason: String) -> Next {
        let (start, line) = (self.at, self.line);
        let rest = self.buffer.get(start..self.filled).unwrap_or_default();
        let end = start + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        (self.at, self.line) = ((end + 1).min(self.filled), line + 1);
        self.found = start..before_return(&self.buffer, end).max(start);
        Next::Broken { line, reason }
    }

    /// Reads more, and tells whether there was any. What is open moves to the front.
    fn fill(&mut self) -> Result<bool> {
        if self.is_at_end {
            return Ok(false);
        }
        self.buffer.copy_within(self.at..self.filled, 0);
        (self.at, self.filled) = (0, self.filled - self.at);
        // A record that does not fit doubles the buffer, so that looking at its begin again stays cheap.
        let wanted = (self.filled * 2).max(READ_BYTES);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let before = self.filled;
        while self.filled < self.buffer.len() {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.input.read(room) {
                Ok(0) => {
                    self.is_at_end = true;
                    break;
                }
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::reading(error, &self.file)),
            }
        }
        // Cutting the open record again tells what its end is, if there is no more.
        Ok(self.filled > before || (self.is_at_end && before > 0))
    }

    /// Finds the fields of the record at hand.
    fn cut(&mut self) -> Option<Found> {
        self.spans.clear();
        self.side.clear();
        let data = self.buffer.get(self.at..self.filled).unwrap_or_default();
        let (mut start, mut lines, mut is_torn) = (0, 0, false);
        let (end, next) = loop {
            match unquoted(data, start, &mut self.spans) {
                Stop::LineEnd { end, next } => {
                    lines += 1;
                    break (end, next);
                }
                Stop::Open { field } if self.is_at_end => {
                    let end = before_return(data, data.len()).max(field);
                    self.spans.push(Span::raw(field, end));
                    break (end, data.len());
                }
                Stop::Open { .. } => return None,
                Stop::Quote { field } => {
                    let quoted = quoted(data, field, self.is_at_end, &mut self.side)?;
                    lines += quoted.lines;
                    is_torn |= quoted.is_torn;
                    self.spans.push(quoted.span);
                    match data.get(quoted.end) {
                        Some(b',') => start = quoted.end + 1,
                        Some(_) => {
                            lines += 1;
                            break (before_return(data, quoted.end), quoted.end + 1);
                        }
                        None => break (quoted.end, quoted.end),
                    }
                }
            }
        };
        Some(Found { end: self.at + end, next: self.at + next, lines, is_torn })
    }
}

struct Quoted {
    span: Span,
    /// The separator behind the field, or the end of the bytes.
    end: usize,
    lines: u64,
    is_torn: bool,
}

/// Cuts the field that begins with a quote at `start`. None if more bytes are needed, or, at the end, if it is never closed.
fn quoted(data: &[u8], start: usize, is_at_end: bool, side: &mut Vec<u8>) -> Option<Quoted> {
    let copied = side.len();
    let mut from = start + 1;
    loop {
        let quote = from + memchr::memchr(b'"', data.get(from..)?)?;
        match data.get(quote + 1) {
            Some(b'"') => {
                side.extend_from_slice(data.get(from..=quote)?);
                from = quote + 2;
            }
            None if !is_at_end => return None,
            behind => {
                let field = data.get(start..quote)?;
                // Most have none.
                let has_lines = memchr::memchr(b'\n', field).is_some();
                let lines = if has_lines { memchr::memchr_iter(b'\n', field).count() as u64 } else { 0 };
                let is_end = matches!(behind, None | Some(b',' | b'\n'));
                let is_end = is_end || data.get(quote + 1..quote + 3) == Some(b"\r\n");
                if is_end && side.len() == copied {
                    let end = quote + 1 + usize::from(behind == Some(&b'\r'));
                    return Some(Quoted { span: Span::raw(start + 1, quote), end, lines, is_torn: false });
                }
                side.extend_from_slice(data.get(from..quote)?);
                // What follows a closed quote belongs to the field, as spreadsheets have it.
                let rest = data.get(quote + 1..)?;
                let length = match memchr::memchr2(b',', b'\n', rest) {
                    Some(length) => length,
                    None if is_at_end => rest.len(),
                    None => return None,
                };
                let end = quote + 1 + length;
                side.extend_from_slice(data.get(quote + 1..before_return(data, end).max(quote + 1))?);
                return Some(Quoted {
                    span: Span::side(copied, side.len()),
                    end,
                    lines,
                    is_torn: !is_end && lines > 0,
                });
            }
        }
    }
}

/// The same place, or that of the carriage return in front of it.
fn before_return(data: &[u8], at: usize) -> usize {
    let is_return = at > 0 && data.get(at - 1) == Some(&b'\r');
    at - usize::from(is_return)
}

#[cfg(test)]
mod tests;
