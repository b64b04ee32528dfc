//! Layouts of Go's `time`: formats and reads times by an example, `Mon Jan 2 15:04:05 MST 2006`.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Utc};

use super::time::Time;

/// The parts of a layout, a longer one before its beginning.
const PARTS: [&str; 34] = [
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "2006",
    "Z070000",
    "Z07:00:00",
    "Z0700",
    "Z07:00",
    "Z07",
    "-070000",
    "-07:00:00",
    "-0700",
    "-07:00",
    "-07",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "__2",
    "_2006",
    "_2",
    "15",
    "PM",
    "pm",
    "1",
    "2",
    "3",
    "4",
    "5",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The name of a month.
pub(super) fn month(time: &Time) -> &'static str {
    MONTHS[time.local().month0() as usize % 12]
}

/// The name of a day of the week.
pub(super) fn weekday(time: &Time) -> &'static str {
    DAYS[time.local().weekday().num_days_from_monday() as usize % 7]
}

/// The text before the first part of a layout, the part, and the rest.
fn next(layout: &str) -> (&str, &str, &str) {
    for (at, _) in layout.char_indices() {
        let rest = &layout[at..];
        if let Some(length) = fraction(rest) {
            return (&layout[..at], &rest[..length], &rest[length..]);
        }
        let found = PARTS.iter().find(|part| rest.starts_with(**part));
        match found {
            // `_2006` is a space sign and a year.
            Some(&"_2006") => return (&layout[..=at], "2006", &rest[5..]),
            // `Jan` only where no small letter follows, so that `Janet` is a name.
            Some(&"Jan" | &"Mon") if rest[3..].starts_with(|c: char| c.is_ascii_lowercase()) => {}
            Some(part) => return (&layout[..at], &rest[..part.len()], &rest[part.len()..]),
            None => {}
        }
    }
    (layout, "", "")
}

/// The length of `.000` or `,999` after which no digit comes.
fn fraction(rest: &str) -> Option<usize> {
    let digits = rest.strip_prefix(['.', ','])?;
    let digit = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = digits.len() - digits.trim_start_matches(digit).len();
    (!digits[count..].starts_with(|c: char| c.is_ascii_digit())).then_some(count + 1)
}

pub(super) fn format(time: &Time, layout: &str) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while !rest.is_empty() {
        let (text, part, after) = next(rest);
        out.push_str(text);
        out.push_str(&formatted(time, part));
        rest = after;
    }
    out
}

fn formatted(time: &Time, part: &str) -> String {
    let local = time.local();
    let hour = if local.hour().is_multiple_of(12) { 12 } else { local.hour() % 12 };
    match part {
        "" => String::new(),
        "January" => month(time).into(),
        "Jan" => month(time)[..3].into(),
        "1" => local.month().to_string(),
        "01" => format!("{:02}", local.month()),
        "Monday" => weekday(time).into(),
        "Mon" => weekday(time)[..3].into(),
        "2" => local.day().to_string(),
        "_2" => format!("{:2}", local.day()),
        "02" => format!("{:02}", local.day()),
        "__2" => format!("{:3}", local.ordinal()),
        "002" => format!("{:03}", local.ordinal()),
        "15" => format!("{:02}", local.hour()),
        "3" => hour.to_string(),
        "03" => format!("{hour:02}"),
        "4" => local.minute().to_string(),
        "04" => format!("{:02}", local.minute()),
        "5" => local.second().to_string(),
        "05" => format!("{:02}", local.second()),
        "2006" => format!("{:04}", local.year()),
        "06" => format!("{:02}", local.year().rem_euclid(100)),
        "PM" => if local.hour() >= 12 { "PM" } else { "AM" }.into(),
        "pm" => if local.hour() >= 12 { "pm" } else { "am" }.into(),
        "MST" => time.zone_name().unwrap_or_else(|| offset(time.offset(), "-0700")),
        _ if part.starts_with(['.', ',']) => {
            let nanoseconds = format!("{:09}", local.nanosecond() % 1_000_000_000);
            let digits = &nanoseconds[..(part.len() - 1).min(9)];
            if part.ends_with('0') {
                return format!("{}{digits}", &part[..1]);
            }
            match digits.trim_end_matches('0') {
                "" => String::new(),
                digits => format!("{}{digits}", &part[..1]),
            }
        }
        _ => offset(time.offset(), part),
    }
}

/// A zone's shift in the form of `Z07:00` or `-0700`.
fn offset(seconds: i32, form: &str) -> String {
    if form.starts_with('Z') && seconds == 0 {
        return "Z".into();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let total = seconds.unsigned_abs();
    let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60);
    match &form[1..] {
        "07" => format!("{sign}{hours:02}"),
        "07:00" => format!("{sign}{hours:02}:{minutes:02}"),
        "0700" => format!("{sign}{hours:02}{minutes:02}"),
        "07:00:00" => format!("{sign}{hours:02}:{minutes:02}:{rest:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}{rest:02}"),
    }
}

/// What has been read of a time.
#[derive(Default)]
struct Read {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    ordinal: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
    afternoon: Option<bool>,
    offset: i64,
}

/// Reads a time in universal time; `None` if the text does not follow the layout.
pub(super) fn parse(layout: &str, text: &str) -> Option<Time> {
    let mut read = Read::default();
    let (mut layout, mut text) = (layout, text);
    loop {
        let (before, part, after) = next(layout);
        text = text.strip_prefix(before)?;
        if part.is_empty() {
            break;
        }
        text = read.part(part, text)?;
        // A fraction may follow the seconds though the layout has none.
        if matches!(part, "5" | "05") && fraction(after).is_none() && text.starts_with(['.', ',']) {
            text = read.fraction(text)?;
        }
        layout = after;
    }
    if text.is_empty() { read.time() } else { None }
}

impl Read {
    fn part<'t>(&mut self, part: &str, text: &'t str) -> Option<&'t str> {
        let number = |least: usize, most: usize| -> Option<(u32, &'t str)> {
            let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
            (count >= least).then(|| Some((text[..count].parse().ok()?, &text[count..])))?
        };
        let word = |words: &[&str], length: Option<usize>| -> Option<(u32, &'t str)> {
            words.iter().zip(1..).find_map(|(word, nth)| {
                let word = &word[..length.unwrap_or(word.len())];
                let begin = text.get(..word.len())?;
                begin.eq_ignore_ascii_case(word).then(|| (nth, &text[word.len()..]))
            })
        };
        let (into, (value, rest)) = match part {
            "January" => (&mut self.month, word(&MONTHS, None)?),
            "Jan" => (&mut self.month, word(&MONTHS, Some(3))?),
            "1" => (&mut self.month, number(1, 2)?),
            "01" => (&mut self.month, number(2, 2)?),
            "Monday" => return Some(word(&DAYS, None)?.1),
            "Mon" => return Some(word(&DAYS, Some(3))?.1),
            "2" => (&mut self.day, number(1, 2)?),
            "_2" => return self.part("2", text.strip_prefix(' ').unwrap_or(text)),
            "02" => (&mut self.day, number(2, 2)?),
            "002" => (&mut self.ordinal, number(3, 3)?),
            _ => return self.clock(part, text, number),
        };
        *into = Some(value);
        Some(rest)
    }

    fn clock<'t>(
        &mut self,
        part: &str,
        text: &'t str,
        number: impl Fn(usize, usize) -> Option<(u32, &'t str)>,
    ) -> Option<&'t str> {
        let (into, (value, rest)) = match part {
            "15" | "03" => (&mut self.hour, number(2, 2)?),
            "3" => (&mut self.hour, number(1, 2)?),
            "4" => (&mut self.minute, number(1, 2)?),
            "04" => (&mut self.minute, number(2, 2)?),
            "5" => (&mut self.second, number(1, 2)?),
            "05" => (&mut self.second, number(2, 2)?),
            "2006" | "06" => {
                let (year, rest) = if part == "06" { number(2, 2)? } else { number(4, 4)? };
                let century = if part == "2006" {
                    0
                } else if year >= 69 {
                    1900
                } else {
                    2000
                };
                self.year = i32::try_from(year + century).ok();
                return Some(rest);
            }
            "PM" | "pm" => {
                let begin = text.get(..2)?;
                self.afternoon = Some(begin.eq_ignore_ascii_case("pm"));
                return (begin.eq_ignore_ascii_case("am") || self.afternoon == Some(true)).then(|| &text[2..]);
            }
            "MST" => {
                let count = text.bytes().take(5).take_while(u8::is_ascii_uppercase).count();
                return (count >= 3).then(|| &text[count..]);
            }
            _ if part.starts_with(['.', ',']) => {
                return if text.starts_with(['.', ',']) { self.fraction(text) } else { Some(text) };
            }
            _ => return self.zone(part, text),
        };
        *into = value;
        Some(rest)
    }

    fn fraction<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let digits = text.get(1..)?;
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let nine: String = digits[..count].chars().chain("000000000".chars()).take(9).collect();
        self.nanosecond = nine.parse().ok()?;
        (count > 0).then(|| &digits[count..])
    }

    fn zone<'t>(&mut self, part: &str, text: &'t str) -> Option<&'t str> {
        if part.starts_with('Z')
            && let Some(rest) = text.strip_prefix('Z')
        {
            return Some(rest);
        }
        let sign = match text.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let written = text.get(..part.len())?;
        let mut total = 0;
        for (digits, unit) in written[1..].replace(':', "").as_bytes().chunks(2).zip([3600, 60, 1]) {
            total += std::str::from_utf8(digits).ok()?.parse::<i64>().ok()? * unit;
        }
        self.offset = sign * total;
        Some(&text[part.len()..])
    }

    fn time(&self) -> Option<Time> {
        let year = self.year.unwrap_or(0);
        let day = match self.ordinal {
            Some(ordinal) => NaiveDate::from_yo_opt(year, ordinal)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let local = day.and_hms_nano_opt(hour, self.minute, self.second, self.nanosecond)?;
        let instant: DateTime<Utc> = local.checked_sub_signed(TimeDelta::seconds(self.offset))?.and_utc();
        let zone = match i32::try_from(self.offset).ok().and_then(chrono::FixedOffset::east_opt) {
            Some(offset) if self.offset != 0 => super::time::Zone::Fixed(offset),
            _ => super::time::Zone::Utc,
        };
        Some(Time { instant, zone })
    }
}
