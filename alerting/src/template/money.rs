//! `money`: an exact amount, written as people read it. Not of Go: bills are decimals, and a float would change their last digits.
//!
//! `{{ money "1234567.895" "USD" }}` prints `USD 1,234,567.90`: two decimals, rounded half to even, in text arithmetic.

use super::{
    args::{Args, Called, failed},
    float,
    value::Value,
};

/// Digits of an amount: what fits into the 38 of a decimal of 128 bits, with room for its scale.
const DIGITS_MAX: usize = 80;

pub(super) fn call(args: Args<'_>) -> Called {
    let written = match args.value(0) {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => float::write(*number, 'f', None),
        other => return failed(format!("an amount is a text like 12.34, not {}", other.type_name())),
    };
    let Some(amount) = amount(written.trim()) else {
        return failed(format!("{written:?} is no amount, write it like -1234.5"));
    };
    match args.0.get(1) {
        None => Ok(Value::text(amount)),
        Some(_) if args.text(1)?.is_empty() => Ok(Value::text(amount)),
        Some(_) => Ok(Value::text(format!("{} {amount}", args.text(1)?))),
    }
}

/// The amount with separators and two decimals.
fn amount(written: &str) -> Option<String> {
    let (sign, unsigned) = match written.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", written.strip_prefix('+').unwrap_or(written)),
    };
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(decimals) || unsigned.len() > DIGITS_MAX || whole.len() + decimals.len() == 0 {
        return None;
    }
    let kept: String = decimals.chars().chain("00".chars()).take(2).collect();
    let mut digits: Vec<u8> = whole.bytes().chain(kept.bytes()).collect();
    let dropped = decimals.get(2..).unwrap_or_default();
    let odd = digits.last().is_some_and(|digit| digit % 2 == 1);
    let up = match dropped.as_bytes() {
        [] | [b'0'..=b'4', ..] => false,
        [b'5', rest @ ..] if rest.iter().all(|digit| *digit == b'0') => odd,
        _ => true,
    };
    if up {
        add_one(&mut digits);
    }
    let text: String = digits.into_iter().map(char::from).collect();
    let (whole, cents) = text.split_at(text.len() - 2);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let sign = if whole == "0" && cents == "00" { "" } else { sign };
    Some(format!("{sign}{}.{cents}", separated(whole)))
}

fn add_one(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

fn separated(whole: &str) -> String {
    let mut out = String::new();
    for (nth, digit) in whole.chars().enumerate() {
        if nth > 0 && (whole.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
