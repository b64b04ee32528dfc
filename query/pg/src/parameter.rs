//! Reads values for the places of a statement, in text or in binary, into what the engine takes.
//!
//! Invariant: a value that is not of its type is refused here or by planning, never read as something else.

use bytes::{Buf, Bytes};
use chrono::{DateTime, Days, NaiveDate};
use query::{
    Parameter,
    types::{self, Oid},
};

use crate::{
    failure::Failure,
    value::{EPOCH_DAYS, EPOCH_US},
};

/// Reads a value of a type; zero is a type that nobody stated.
pub(crate) fn read(value: Option<&Bytes>, oid: Oid, is_binary: bool) -> Result<Parameter, Failure> {
    if let Some(item) = types::element(oid) {
        let Some(value) = value else { return Ok(Parameter::One(None, None)) };
        let items = if is_binary { binary_list(value.clone(), item)? } else { text_list(utf8(value)?)? };
        return Ok(Parameter::List(items, types::sql(item)));
    }
    let Some(value) = value else { return Ok(Parameter::One(None, types::sql(oid))) };
    if !is_binary {
        let text = utf8(value)?;
        // A text of a type that SQL has no literal for stays what it is.
        return Ok(match oid {
            types::BYTEA => Parameter::One(Some(text), None),
            types::NUMERIC => Parameter::decimal(text),
            _ => Parameter::One(Some(text), types::sql(oid)),
        });
    }
    let text = binary(value.clone(), oid)?;
    Ok(if oid == types::NUMERIC { Parameter::decimal(text) } else { Parameter::One(Some(text), types::sql(oid)) })
}

fn utf8(value: &[u8]) -> Result<String, Failure> {
    String::from_utf8(value.to_vec()).map_err(|_| Failure::new("22021", "value of a parameter is not UTF-8"))
}

fn wrong() -> Failure {
    Failure::new("22P03", "value of a parameter is not of the length that its type has")
}

fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], Failure> {
    value.try_into().map_err(|_| wrong())
}

fn binary(mut value: Bytes, oid: Oid) -> Result<String, Failure> {
    let bytes = value.as_ref();
    Ok(match oid {
        types::BOOL => (array::<1>(bytes)? != [0]).to_string(),
        types::INT2 => i16::from_be_bytes(array(bytes)?).to_string(),
        types::INT4 => i32::from_be_bytes(array(bytes)?).to_string(),
        types::INT8 => i64::from_be_bytes(array(bytes)?).to_string(),
        types::OID => u32::from_be_bytes(array(bytes)?).to_string(),
        types::FLOAT4 => f32::from_be_bytes(array(bytes)?).to_string(),
        types::FLOAT8 => f64::from_be_bytes(array(bytes)?).to_string(),
        types::DATE => {
            let days = i64::from(i32::from_be_bytes(array(bytes)?)) + i64::from(EPOCH_DAYS);
            let moved = |days: u64, back: bool| {
                let epoch = NaiveDate::default();
                if back { epoch.checked_sub_days(Days::new(days)) } else { epoch.checked_add_days(Days::new(days)) }
            };
            moved(days.unsigned_abs(), days < 0).ok_or_else(|| Failure::new("22008", "date out of range"))?.to_string()
        }
        types::TIMESTAMP | types::TIMESTAMPTZ => {
            let micros = i64::from_be_bytes(array(bytes)?).checked_add(EPOCH_US);
            let time = micros.and_then(DateTime::from_timestamp_micros);
            let time = time.ok_or_else(|| Failure::new("22008", "timestamp out of range"))?;
            let zone = if oid == types::TIMESTAMPTZ { "Z" } else { "" };
            format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S%.6f"))
        }
        types::TIME => {
            let micros = i64::from_be_bytes(array(bytes)?);
            let seconds = micros / 1_000_000;
            format!("{:02}:{:02}:{:02}.{:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60, micros % 1_000_000)
        }
        types::INTERVAL => {
            let all: [u8; 16] = array(bytes)?;
            let mut all = Bytes::copy_from_slice(&all);
            let (micros, days, months) = (all.get_i64(), all.get_i32(), all.get_i32());
            format!("{months} months {days} days {} milliseconds", micros / 1_000)
        }
        types::UUID => {
            let all: [u8; 16] = array(bytes)?;
            let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        }
        types::NUMERIC => numeric(&mut value)?,
        types::JSONB => utf8(bytes.get(1..).unwrap_or_default())?,
        types::TEXT | types::VARCHAR | types::BPCHAR | types::NAME | types::UNKNOWN | types::JSON | 0 => utf8(bytes)?,
        other => {
            let message = format!("parameters of type {other} are not taken in binary: send them as text");
            return Err(Failure::new("0A000", message));
        }
    })
}

/// Groups of four digits become a text.
fn numeric(value: &mut Bytes) -> Result<String, Failure> {
    if value.len() < 8 {
        return Err(wrong());
    }
    let (count, weight, sign, scale) =
        (value.get_u16(), value.get_i16(), value.get_u16(), usize::from(value.get_u16()));
    if !matches!(sign, 0 | 0x4000) {
        return Err(Failure::new("22003", "a decimal is a finite number here"));
    }
    if value.len() != usize::from(count) * 2 || !(-20..20).contains(&weight) || scale > 76 {
        return Err(Failure::new("22003", "decimal out of range"));
    }
    let groups: Vec<u16> = (0..count).map(|_| value.get_u16()).collect();
    let at = |place: i32| {
        let index = usize::try_from(i32::from(weight) - place).ok();
        index.and_then(|index| groups.get(index)).copied().unwrap_or(0)
    };
    let whole: String = (0..=i32::from(weight).max(0)).rev().map(|place| format!("{:04}", at(place))).collect();
    let behind: String =
        (1..=i32::try_from(scale.div_ceil(4)).unwrap_or(0)).map(|place| format!("{:04}", at(-place))).collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let minus = if sign == 0 { "" } else { "-" };
    let behind = behind.get(..scale).unwrap_or_default();
    Ok(if behind.is_empty() { format!("{minus}{whole}") } else { format!("{minus}{whole}.{behind}") })
}

fn binary_list(mut value: Bytes, item: Oid) -> Result<Vec<Option<String>>, Failure> {
    if value.len() < 12 {
        return Err(wrong());
    }
    let (dimensions, _, of) = (value.get_u32(), value.get_u32(), value.get_u32());
    if dimensions == 0 {
        return Ok(Vec::new());
    }
    if dimensions > 1 {
        return Err(Failure::new("0A000", "lists of lists are not taken as parameters"));
    }
    let count = usize::try_from(value.try_get_u32().map_err(|_| wrong())?).unwrap_or(usize::MAX);
    value.try_get_u32().map_err(|_| wrong())?;
    check_items(count)?;
    let of = if of == 0 { item } else { of };
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let length = value.try_get_u32().map_err(|_| wrong())?;
        if length == u32::MAX {
            items.push(None);
            continue;
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= value.len()).ok_or_else(wrong)?;
        items.push(Some(binary(value.split_to(length), of)?));
    }
    Ok(items)
}

fn check_items(count: usize) -> Result<(), Failure> {
    Parameter::check_items(count).map_err(|error| Failure::of(&error, ""))
}

/// `{a,"b c",NULL}`.
fn text_list(text: String) -> Result<Vec<Option<String>>, Failure> {
    let wrong = || Failure::new("22P02", "malformed list: it is written {a,\"b c\",NULL}");
    let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(wrong)?;
    let mut items = Vec::new();
    let mut chars = inner.chars().peekable();
    while chars.peek().is_some() {
        let (mut item, mut is_quoted, mut within) = (String::new(), false, false);
        while let Some(c) = chars.next_if(|c| within || *c != ',') {
            match c {
                '\\' => item.push(chars.next().ok_or_else(wrong)?),
                '"' => (within, is_quoted) = (!within, true),
                '{' | '}' if !within => return Err(wrong()),
                c => item.push(c),
            }
        }
        if within {
            return Err(wrong());
        }
        chars.next();
        let text = if is_quoted { item } else { item.trim().to_owned() };
        items.push((is_quoted || !text.eq_ignore_ascii_case("null")).then_some(text));
        check_items(items.len())?;
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8], oid: Oid) -> Option<String> {
        match read(Some(&Bytes::copy_from_slice(bytes)), oid, true) {
            Ok(Parameter::One(text, _)) => text,
            _ => None,
        }
    }

    #[test]
    fn binary_values_become_the_texts_of_what_they_are() {
        assert_eq!(one(&[0xff, 0xfe], types::INT2).as_deref(), Some("-2"));
        assert_eq!(one(&0_i64.to_be_bytes(), types::TIMESTAMPTZ).as_deref(), Some("2000-01-01T00:00:00.000000Z"));
        assert_eq!(one(&(-1_i32).to_be_bytes(), types::DATE).as_deref(), Some("1999-12-31"));
        let numeric = [0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c];
        assert_eq!(one(&numeric, types::NUMERIC).as_deref(), Some("-12345.678"));
        assert_eq!(one(&[0, 1, 0xff, 0xff, 0, 0, 0, 4, 0, 1], types::NUMERIC).as_deref(), Some("0.0001"));
        assert_eq!(one(&[1, 2, 3], types::INT4), None, "too short");
    }

    #[test]
    fn lists_are_read_in_both_formats() {
        let text = Bytes::from_static(b"{a,\"b \\\"c\",NULL,\"NULL\"}");
        let items = ["a", "b \"c"].map(|item| Some(item.to_owned()));
        let expected = [items[0].clone(), items[1].clone(), None, Some("NULL".to_owned())];
        assert_eq!(read(Some(&text), 1009, false).unwrap(), Parameter::List(expected.to_vec(), Some("VARCHAR")));
        let mut binary = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1];
        binary.extend([0, 0, 0, 4, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff]);
        let expected = Parameter::List(vec![Some("9".to_owned()), None], Some("INT"));
        assert_eq!(read(Some(&Bytes::from(binary)), 1007, true).unwrap(), expected);
        assert!(read(Some(&Bytes::from_static(b"{a")), 1009, false).is_err());
    }
}
