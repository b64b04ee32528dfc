//! `toJson`: a value as Go's `encoding/json` writes it.

use crate::{
    Error, Result,
    template::{float, value::Value},
};

pub(super) fn write(value: &Value, bytes_max: usize) -> Result<String> {
    let mut out = String::new();
    append(value, bytes_max, &mut out)?;
    Ok(out)
}

fn append(value: &Value, bytes_max: usize, out: &mut String) -> Result<()> {
    if out.len() + value.bytes() > bytes_max {
        return Err(Error::invalid(format!("the JSON is too long, bytes_max={bytes_max}")));
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) | Value::Duration(number) => out.push_str(&number.to_string()),
        Value::Float(number) if !number.is_finite() => {
            let number = float::write(*number, 'g', None);
            return Err(Error::invalid(format!("json: unsupported value: {number}")));
        }
        Value::Float(number) => out.push_str(&written(*number)),
        Value::Text(text) | Value::Html(text) => quote(text, out),
        Value::Time(time) => quote(&time.rfc3339(), out),
        Value::List(list) => {
            out.push('[');
            for (nth, item) in list.items.iter().enumerate() {
                out.push_str(if nth > 0 { "," } else { "" });
                append(item, bytes_max, out)?;
            }
            out.push(']');
        }
        Value::Map(map) => object(map.items.iter().map(|(name, item)| (&**name, item.clone())), bytes_max, out)?,
        Value::Labels(labels) | Value::Kv(labels) => {
            object(labels.iter().map(|(name, text)| (name, Value::text(text))), bytes_max, out)?;
        }
        Value::Record(record) => {
            object(record.fields.iter().map(|(_, name, item)| (*name, item.clone())), bytes_max, out)?;
        }
    }
    Ok(())
}

fn object<'v>(items: impl Iterator<Item = (&'v str, Value)>, bytes_max: usize, out: &mut String) -> Result<()> {
    out.push('{');
    for (nth, (name, item)) in items.enumerate() {
        out.push_str(if nth > 0 { "," } else { "" });
        quote(name, out);
        out.push(':');
        append(&item, bytes_max, out)?;
    }
    out.push('}');
    Ok(())
}

/// Plain up to 21 digits, as JavaScript does.
fn written(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // `1e-07` is `1e-7`.
        return float::write(number, 'e', None).replace("e-0", "e-");
    }
    float::write(number, 'f', None)
}

/// A text in quotes; what a page would read as HTML is escaped.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..' ' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}
