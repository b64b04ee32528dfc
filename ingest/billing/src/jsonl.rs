//! Reads lines of JSON, an object in each, as records: members of members have dotted names, lists stay JSON.
//!
//! Called by the reader. `BigQuery` leaves out what is null, so columns come up as lines have them: the header grows.
//!
//! Invariants: as of `csv`; numbers are the text that the file has.

use std::{
    borrow::Cow,
    io::{BufRead, BufReader, Read},
};

use serde_json::value::RawValue;

use crate::{
    csv::RECORD_BYTES_MAX,
    error::{Error, Result},
    json::{self, Object},
    record::{COLUMNS_MAX, Header, Next, Record, Span, Wire},
};

/// Objects in objects: bills have three levels.
const DEPTH_MAX: usize = 8;

/// Lines of JSON.
pub(crate) struct JsonLines {
    pub header: Header,
    input: BufReader<Box<dyn Read + Send>>,
    file: String,
    line: u64,
    bytes: Vec<u8>,
    raw: String,
    side: String,
    spans: Vec<Span>,
    /// The first line was read for its header, and is still to be given.
    is_first: bool,
}

impl JsonLines {
    pub(crate) fn open(input: Box<dyn Read + Send>, file: &str) -> Result<Self> {
        let mut lines = Self {
            header: Header::default(),
            input: BufReader::with_capacity(256 << 10, input),
            file: file.to_owned(),
            line: 0,
            bytes: Vec::new(),
            raw: String::new(),
            side: String::new(),
            spans: Vec::new(),
            is_first: false,
        };
        if let Next::Broken { reason, .. } = lines.next()? {
            return Err(Error::invalid(format!("{file} looks like lines of JSON, but the first is none: {reason}")));
        }
        lines.is_first = true;
        Ok(lines)
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record { raw: &self.raw, side: &self.side, spans: &self.spans }
    }

    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    pub(crate) fn next(&mut self) -> Result<Next> {
        if std::mem::take(&mut self.is_first) {
            return Ok(Next::Record { line: self.line });
        }
        loop {
            self.bytes.clear();
            let mut limited = self.input.by_ref().take(RECORD_BYTES_MAX as u64);
            let read = limited.read_until(b'\n', &mut self.bytes).map_err(|error| Error::reading(error, &self.file))?;
            if read == 0 {
                return Ok(Next::End);
            }
            self.line += 1;
            let line = self.line;
            if read == RECORD_BYTES_MAX && self.bytes.last() != Some(&b'\n') {
                self.skip_line()?;
                return Ok(Next::Broken { line, reason: format!("no end within {RECORD_BYTES_MAX} bytes") });
            }
            if self.bytes.trim_ascii().is_empty() {
                continue;
            }
            let Ok(text) = str::from_utf8(self.bytes.trim_ascii()) else {
                return Ok(Next::Broken { line, reason: "no UTF-8".to_owned() });
            };
            text.clone_into(&mut self.raw);
            return Ok(match self.cut() {
                Ok(()) => Next::Record { line },
                Err(reason) => Next::Broken { line, reason: reason.to_owned() },
            });
        }
    }

    fn skip_line(&mut self) -> Result<()> {
        loop {
            let buffer = self.input.fill_buf().map_err(|error| Error::reading(error, &self.file))?;
            let end = memchr::memchr(b'\n', buffer);
            let (step, is_done) = end.map_or((buffer.len(), buffer.is_empty()), |end| (end + 1, true));
            self.input.consume(step);
            if is_done {
                return Ok(());
            }
        }
    }

    fn cut(&mut self) -> Result<(), &'static str> {
        self.side.clear();
        self.spans.clear();
        self.spans.resize(self.header.names.len(), Span::raw(0, 0));
        let mut fields = Fields { header: &mut self.header, side: &mut self.side, spans: &mut self.spans };
        fields.object(&self.raw, "", 0)
    }
}

/// Where the fields of a line go.
struct Fields<'a> {
    header: &'a mut Header,
    side: &'a mut String,
    spans: &'a mut Vec<Span>,
}

impl Fields<'_> {
    fn object(&mut self, text: &str, prefix: &str, depth: usize) -> Result<(), &'static str> {
        if depth > DEPTH_MAX {
            return Err("objects are nested too deeply");
        }
        let Object(members) = json::object(text).ok_or("no object of JSON")?;
        for (key, value) in members {
            let name = if prefix.is_empty() { key } else { Cow::Owned(format!("{prefix}.{key}")) };
            if value.get().starts_with('{') {
                self.object(value.get(), &name, depth + 1)?;
            } else {
                self.field(&name, value)?;
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str, value: &RawValue) -> Result<(), &'static str> {
        let start = self.side.len();
        self.side.push_str(&json::plain_or_null(value));
        let slot = match self.header.find_exact(name) {
            Some(slot) => slot,
            None if self.header.names.len() >= COLUMNS_MAX => return Err("more columns than a bill has"),
            None => {
                self.spans.push(Span::raw(0, 0));
                self.header.push(name.to_owned())
            }
        };
        let Some(wire) = wire(value) else { return Ok(()) };
        self.header.saw(slot, wire);
        if let Some(span) = self.spans.get_mut(slot) {
            *span = Span::side(start, self.side.len());
        }
        Ok(())
    }
}

/// How a value is written; none if it is null.
fn wire(value: &RawValue) -> Option<u8> {
    match value.get().as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => Some(Wire::TEXT),
        Some(b'-' | b'0'..=b'9') => Some(Wire::NUMBER),
        _ => Some(Wire::OTHER),
    }
}
