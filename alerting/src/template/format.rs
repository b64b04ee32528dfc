//! Prints values as Go's `fmt` does: `print`, `println`, `printf`, and what an action prints.
//!
//! Called by `exec`, `builtin` and functions of both flavours. What is printed is bounded while it is made; what a verb does not suit is
//! printed as Go's complaint and is no error.

mod verb;

use std::fmt::Write as _;

pub(super) use verb::is_printable;

use super::value::{ListKind, Value};
use crate::{Error, Result};

/// The widest field and the highest precision. Go stops at a million; the widest in use are two digits, and a format may ask for many.
const WIDTH_MAX: usize = 1000;
/// The longest `[n]`: as many digits as a number has.
const INDEX_BYTES_MAX: usize = 20;

/// Flags, width and precision of a verb.
#[derive(Debug, Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v`: fields with their names.
    plus_v: bool,
    /// `%#v`: as Go would write it.
    sharp_v: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// What prints, and how much it may.
struct Printer {
    out: String,
    bytes_max: usize,
}

/// What `print` gives: values with spaces between those that are no texts.
pub(super) fn print(values: &[Value], bytes_max: usize) -> Result<String> {
    let mut printer = Printer { out: String::new(), bytes_max };
    let is_text = |value: &Value| matches!(value, Value::Text(_) | Value::Html(_));
    for (nth, value) in values.iter().enumerate() {
        if nth > 0 && !is_text(value) && !is_text(&values[nth - 1]) {
            printer.out.push(' ');
        }
        printer.value(value, 'v', Spec::default())?;
    }
    Ok(printer.out)
}

/// What `println` gives: values with spaces between, and a line break.
pub(super) fn println(values: &[Value], bytes_max: usize) -> Result<String> {
    let mut printer = Printer { out: String::new(), bytes_max };
    for (nth, value) in values.iter().enumerate() {
        if nth > 0 {
            printer.out.push(' ');
        }
        printer.value(value, 'v', Spec::default())?;
    }
    printer.out.push('\n');
    Ok(printer.out)
}

/// What `printf` gives.
pub(super) fn printf(format: &str, values: &[Value], bytes_max: usize) -> Result<String> {
    let mut run = Run {
        printer: Printer { out: String::new(), bytes_max },
        rest: format,
        values,
        next: 0,
        reordered: false,
        good_index: true,
    };
    run.all()?;
    Ok(run.printer.out)
}

/// A format being printed.
struct Run<'f> {
    printer: Printer,
    rest: &'f str,
    values: &'f [Value],
    next: usize,
    /// Did this verb say which value it takes?
    reordered: bool,
    good_index: bool,
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        let mut any_reordered = false;
        while let Some((text, rest)) = self.rest.split_once('%') {
            self.printer.push(text)?;
            self.rest = rest;
            self.good_index = true;
            self.reordered = false;
            let mut spec = self.flags();
            let mut after_index = self.index();
            self.width(&mut spec, &mut after_index)?;
            if self.take('.') {
                self.precision(&mut spec, after_index)?;
                after_index = false;
            }
            if !after_index {
                self.index();
            }
            any_reordered = self.reordered;
            let Some(verb) = self.rest.chars().next() else {
                self.printer.push("%!(NOVERB)")?;
                break;
            };
            self.rest = &self.rest[verb.len_utf8()..];
            self.verb(verb, spec)?;
        }
        let rest = self.rest;
        self.rest = "";
        self.printer.push(rest)?;
        if !any_reordered && self.next < self.values.len() {
            self.extra()?;
        }
        Ok(())
    }

    fn take(&mut self, c: char) -> bool {
        self.rest.strip_prefix(c).map(|rest| self.rest = rest).is_some()
    }

    fn flags(&mut self) -> Spec {
        let mut spec = Spec::default();
        loop {
            match self.rest.bytes().next() {
                Some(b'#') => spec.sharp = true,
                Some(b'0') => spec.zero = true,
                Some(b'+') => spec.plus = true,
                Some(b'-') => spec.minus = true,
                Some(b' ') => spec.space = true,
                _ => return spec,
            }
            self.rest = &self.rest[1..];
        }
    }

    /// Reads an `[n]`; says whether there was one.
    fn index(&mut self) -> bool {
        let Some(inside) = self.rest.strip_prefix('[') else { return false };
        self.reordered = true;
        // No index is longer, and a format may be full of brackets that are not closed.
        let end = inside.bytes().take(INDEX_BYTES_MAX).position(|byte| byte == b']');
        let Some((number, rest)) = end.map(|end| (&inside[..end], &inside[end + 1..])) else {
            self.good_index = false;
            self.rest = inside;
            return false;
        };
        self.rest = rest;
        match number.parse::<usize>() {
            Ok(nth) if nth >= 1 && nth <= self.values.len() => {
                self.next = nth - 1;
                true
            }
            _ => {
                self.good_index = false;
                false
            }
        }
    }

    fn number(&mut self) -> Result<Option<usize>> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        match digits.parse::<usize>() {
            _ if digits.is_empty() => Ok(None),
            Ok(number) if number <= WIDTH_MAX => Ok(Some(number)),
            _ => Err(too_wide(digits)),
        }
    }

    /// The value of a `*`.
    fn star(&mut self) -> Result<Option<i64>> {
        let value = self.values.get(self.next);
        self.next += usize::from(value.is_some());
        match value {
            Some(Value::Int(number)) if number.unsigned_abs() > WIDTH_MAX as u64 => Err(too_wide(&number.to_string())),
            Some(Value::Int(number)) => Ok(Some(*number)),
            _ => Ok(None),
        }
    }

    fn width(&mut self, spec: &mut Spec, after_index: &mut bool) -> Result<()> {
        if self.take('*') {
            match self.star()? {
                Some(width) => {
                    spec.minus |= width < 0;
                    spec.zero &= width >= 0;
                    spec.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.printer.push("%!(BADWIDTH)")?,
            }
            *after_index = false;
            return Ok(());
        }
        spec.width = self.number()?;
        if *after_index && spec.width.is_some() {
            self.good_index = false;
        }
        Ok(())
    }

    fn precision(&mut self, spec: &mut Spec, after_index: bool) -> Result<()> {
        if after_index {
            self.good_index = false;
        }
        self.index();
        if self.take('*') {
            match self.star()? {
                Some(precision) if precision >= 0 => spec.precision = usize::try_from(precision).ok(),
                _ => self.printer.push("%!(BADPREC)")?,
            }
            return Ok(());
        }
        spec.precision = Some(self.number()?.unwrap_or(0));
        Ok(())
    }

    fn verb(&mut self, verb: char, mut spec: Spec) -> Result<()> {
        if verb == '%' {
            return self.printer.push("%");
        }
        if !self.good_index {
            return self.printer.push(&format!("%!{verb}(BADINDEX)"));
        }
        let Some(value) = self.values.get(self.next) else {
            return self.printer.push(&format!("%!{verb}(MISSING)"));
        };
        self.next += 1;
        if verb == 'v' {
            spec.sharp_v = std::mem::take(&mut spec.sharp);
            spec.plus_v = std::mem::take(&mut spec.plus);
        }
        self.printer.value(value, verb, spec)
    }

    fn extra(&mut self) -> Result<()> {
        self.printer.push("%!(EXTRA ")?;
        for (nth, value) in self.values[self.next..].iter().enumerate() {
            if nth > 0 {
                self.printer.push(", ")?;
            }
            if matches!(value, Value::Nil) {
                self.printer.push("<nil>")?;
                continue;
            }
            self.printer.push(value.type_name())?;
            self.printer.push("=")?;
            self.printer.value(value, 'v', Spec::default())?;
        }
        self.printer.push(")")
    }
}

fn too_wide(written: &str) -> Error {
    Error::invalid(format!("printf: width or precision {written} is too large, max={WIDTH_MAX}"))
}

impl Printer {
    fn push(&mut self, text: &str) -> Result<()> {
        if self.out.len() + text.len() > self.bytes_max {
            return Err(Error::invalid(format!("the text printed is too long, bytes_max={}", self.bytes_max)));
        }
        self.out.push_str(text);
        Ok(())
    }

    /// Prints a value of any kind.
    fn value(&mut self, value: &Value, verb: char, spec: Spec) -> Result<()> {
        if verb == 'T' {
            return self.push(&verb::padded(value.type_name(), spec));
        }
        if verb == 'p' && !matches!(value, Value::Nil) {
            return self.bad(value, verb, spec);
        }
        let is_named = matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') && !spec.sharp_v;
        if is_named && let Some(text) = named(value) {
            return self.scalar(verb::text(&text, verb, spec), value, verb, spec);
        }
        match value {
            Value::Nil if verb == 'v' => self.push(&verb::padded("<nil>", spec)),
            Value::Nil => self.push(&format!("%!{verb}(<nil>)")),
            Value::Bool(truth) => self.scalar(verb::truth(*truth, verb, spec), value, verb, spec),
            Value::Int(number) | Value::Duration(number) => {
                self.scalar(verb::int(*number, verb, spec), value, verb, spec)
            }
            Value::Float(number) => self.scalar(verb::float(*number, verb, spec), value, verb, spec),
            Value::Text(text) | Value::Html(text) => self.scalar(verb::text(text, verb, spec), value, verb, spec),
            Value::Time(time) if verb == 'v' => self.push(&time.to_string()),
            Value::Time(_) => self.bad(value, verb, spec),
            Value::List(list) => {
                let kind = if spec.sharp_v { value.type_name() } else { "" };
                let around = if spec.sharp_v { ["{", ", ", "}"] } else { ["[", " ", "]"] };
                self.push(kind)?;
                self.all(around, list.items.iter(), |printer, item| printer.inner(item, verb, spec))
            }
            Value::Map(map) => self.map(value, verb, spec, map.items.iter().map(|(name, item)| (&**name, item))),
            Value::Labels(labels) | Value::Kv(labels) => {
                let items: Vec<(&str, Value)> = labels.iter().map(|(name, text)| (name, Value::text(text))).collect();
                self.map(value, verb, spec, items.iter().map(|(name, item)| (*name, item)))
            }
            Value::Record(record) => {
                let named = spec.plus_v || spec.sharp_v;
                self.push(if spec.sharp_v { record.type_name } else { "" })?;
                let separator = if spec.sharp_v { ", " } else { " " };
                self.all(["{", separator, "}"], record.fields.iter(), |printer, (name, _, item)| {
                    if named {
                        printer.push(name)?;
                        printer.push(":")?;
                    }
                    printer.inner(item, verb, spec)
                })
            }
        }
    }

    /// Prints a value inside of another.
    fn inner(&mut self, value: &Value, verb: char, spec: Spec) -> Result<()> {
        match value {
            Value::Nil if spec.sharp_v => self.push("interface {}(nil)"),
            Value::Nil => self.push("<nil>"),
            _ => self.value(value, verb, spec),
        }
    }

    fn map<'v>(
        &mut self,
        value: &Value,
        verb: char,
        spec: Spec,
        items: impl Iterator<Item = (&'v str, &'v Value)>,
    ) -> Result<()> {
        self.push(if spec.sharp_v { value.type_name() } else { "map" })?;
        let around = if spec.sharp_v { ["{", ", ", "}"] } else { ["[", " ", "]"] };
        self.all(around, items, |printer, (name, item)| {
            printer.value(&Value::text(name), verb, spec)?;
            printer.push(":")?;
            printer.inner(item, verb, spec)
        })
    }

    fn all<T>(
        &mut self,
        [open, separator, close]: [&str; 3],
        items: impl Iterator<Item = T>,
        mut print: impl FnMut(&mut Self, T) -> Result<()>,
    ) -> Result<()> {
        self.push(open)?;
        for (nth, item) in items.enumerate() {
            if nth > 0 {
                self.push(separator)?;
            }
            print(self, item)?;
        }
        self.push(close)
    }

    /// Prints what a verb made of a value, or the complaint that it could not.
    fn scalar(&mut self, made: Option<String>, value: &Value, verb: char, spec: Spec) -> Result<()> {
        match made {
            Some(text) => self.push(&text),
            None => self.bad(value, verb, spec),
        }
    }

    fn bad(&mut self, value: &Value, verb: char, spec: Spec) -> Result<()> {
        self.push(&format!("%!{verb}({}=", value.type_name()))?;
        match value {
            Value::Duration(nanoseconds) => self.value(&Value::Int(*nanoseconds), 'v', spec)?,
            _ => self.value(value, 'v', spec)?,
        }
        self.push(")")
    }
}

/// What prints as a text of its own, as types with a `String` method do.
fn named(value: &Value) -> Option<String> {
    match value {
        Value::Time(time) => Some(time.to_string()),
        Value::Duration(nanoseconds) => Some(super::time::duration(*nanoseconds)),
        Value::Kv(labels) => Some(joined(super::field::alert_name_first(labels))),
        Value::List(list) if list.kind == ListKind::Pairs => {
            let text = |value: Option<&Value>| match value {
                Some(Value::Text(text)) => text.to_string(),
                _ => String::new(),
            };
            let pair = |item: &Value| match item {
                Value::Record(pair) => (text(pair.get("Name")), text(pair.get("Value"))),
                _ => Default::default(),
            };
            Some(joined(list.items.iter().map(pair)))
        }
        _ => None,
    }
}

fn joined<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> String {
    let mut out = String::new();
    for (nth, (name, value)) in pairs.into_iter().enumerate() {
        // Writing to a text does not fail.
        let _ = write!(out, "{}{}={}", if nth > 0 { ", " } else { "" }, name.as_ref(), value.as_ref());
    }
    out
}
