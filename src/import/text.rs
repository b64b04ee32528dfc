//! A file of OpenMetrics text, or stdin, as a source.
//!
//! Called by the command. A file is read once to see that it is right, and which days are where in it; then some days at a time, so that
//! the server gets samples oldest first whatever the order of lines: a day at a time if the lines are in order of time, more if each
//! day is all over the file. Stdin is read once and sent as it comes. A part is some days, or all of stdin; a place in it is a byte. A line that is wrong is told with its number and left out. Not here: the format of a line
//! (`ingest::openmetrics`).

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ingest::{
    openmetrics::{self, Line},
    samples::{Sample, Samples},
};

use super::{
    Choice,
    encode::{About, Exemplar, Series},
    sink::Sink,
};
use crate::times::{DAY_MS, common, show};

/// Longest line that is read; names and values of labels are a few kilobytes.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// Samples that are gathered by series before they are handed over.
const GATHERED_MAX: usize = 50_000;
/// A file is read so many times at most, the first time not counted.
const READS_MAX: u64 = 8;

/// Text as a source.
pub(super) enum Text<'a> {
    /// A file.
    File(PathBuf),
    /// What comes on stdin.
    Stdin(Box<dyn Read + 'a>),
}

/// Where the lines of a day are in a file.
#[derive(Clone, Copy, Debug)]
struct Day {
    from: u64,
    to: u64,
    samples: u64,
}

impl Text<'_> {
    /// Hands everything that was chosen to the sink.
    ///
    /// # Errors
    /// If the text cannot be read; those of the sink.
    pub(super) fn run(self, choice: &Choice, sink: &mut Sink) -> Result<()> {
        match self {
            Self::File(path) => run_file(&path, choice, sink),
            Self::Stdin(text) => run_stdin(text, choice, sink),
        }
    }
}

fn run_file(path: &Path, choice: &Choice, sink: &mut Sink) -> Result<()> {
    let opened = || format!("{} cannot be read", path.display());
    let mut lines = Lines::new(File::open(path).with_context(opened)?, 0);
    let mut gathered = Gathered::default();
    let mut days = BTreeMap::<i64, Day>::new();
    let mut ended = false;
    sink.progress.of(format!("looking through {}", path.display()));
    while let Some((at, line)) = lines.next().with_context(opened)? {
        match line {
            Ok(Line::Sample(sample)) => {
                let borrowed: Vec<_> = sample.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
                if choice.times_ms.contains(&sample.ts_ms) && choice.takes(&borrowed) {
                    let day =
                        days.entry(sample.ts_ms.div_euclid(DAY_MS)).or_insert(Day { from: at, to: at, samples: 0 });
                    day.to = at;
                    day.samples += 1;
                }
            }
            Ok(Line::About(about)) => gathered.about(about),
            Ok(Line::End) => {
                ended = true;
                break;
            }
            Ok(Line::Nothing) => {}
            Err(fault) => sink.damaged(format_args!("{}:{}: {fault}", path.display(), lines.number)),
        }
        sink.progress.show(0);
    }
    check_end(ended, &mut lines, &path.display().to_string(), sink)?;
    let total = days.values().map(|day| day.samples).sum::<u64>();
    let mut done = 0;
    for (days, place) in windows(&days, lines.at) {
        run_days(path, (days, place), choice, (&mut gathered, &mut *sink))?;
        done += place.samples;
        #[allow(clippy::cast_precision_loss, reason = "a share")]
        sink.progress.at(done as f64 / total as f64, false);
    }
    Ok(())
}

/// Days that are gone through together: as few as can be without reading the file more often than is worth it.
fn windows(days: &BTreeMap<i64, Day>, file_bytes: u64) -> Vec<(Range<i64>, Day)> {
    let mut step = 1;
    loop {
        let mut windows = Vec::<(Range<i64>, Day)>::new();
        for (day, place) in days {
            match windows.last_mut() {
                Some((window, whole)) if window.contains(day) => {
                    whole.from = whole.from.min(place.from);
                    whole.to = whole.to.max(place.to);
                    whole.samples += place.samples;
                }
                _ => {
                    let start = day.div_euclid(step) * step;
                    windows.push((start..start + step, *place));
                }
            }
        }
        let read = windows.iter().map(|(_, place)| place.to - place.from).sum::<u64>();
        if windows.len() < 2 || read <= file_bytes.saturating_mul(READS_MAX) {
            return windows;
        }
        step *= 2;
    }
}

fn run_days(
    path: &Path,
    (days, place): (Range<i64>, Day),
    choice: &Choice,
    (gathered, sink): (&mut Gathered, &mut Sink),
) -> Result<()> {
    let times_ms = days.start.saturating_mul(DAY_MS)..days.end.saturating_mul(DAY_MS);
    sink.progress.of(format!("{} to {}", show(times_ms.start), show(times_ms.end)));
    let part = format!("{}/{}", times_ms.start, times_ms.end);
    let times_ms = common(&times_ms, &choice.times_ms);
    let Some(from) = sink.begin(&part) else { return Ok(()) };
    let opened = || format!("{} cannot be read", path.display());
    let mut file = File::open(path).with_context(opened)?;
    let from = from.max(place.from);
    file.seek(SeekFrom::Start(from)).with_context(opened)?;
    let mut lines = Lines::new(file, from);
    while let Some((at, line)) = lines.next().with_context(opened)? {
        if at > place.to {
            break;
        }
        if let Ok(Line::Sample(sample)) = line
            && times_ms.contains(&sample.ts_ms)
        {
            gathered.add(&sample, choice);
            if gathered.samples >= GATHERED_MAX {
                gathered.hand_over(sink)?;
                sink.reached(lines.at);
            }
        }
    }
    gathered.hand_over(sink)?;
    sink.end();
    Ok(())
}

fn run_stdin(text: impl Read, choice: &Choice, sink: &mut Sink) -> Result<()> {
    sink.progress.of("stdin".to_owned());
    let Some(from) = sink.begin("stdin") else { return Ok(()) };
    let mut lines = Lines::new(text, 0);
    let mut gathered = Gathered::default();
    let mut ended = false;
    while let Some((at, line)) = lines.next().context("stdin cannot be read")? {
        match line {
            Ok(Line::Sample(sample)) if at >= from && choice.times_ms.contains(&sample.ts_ms) => {
                gathered.add(&sample, choice);
            }
            Ok(Line::Sample(_) | Line::Nothing) => {}
            Ok(Line::About(about)) => gathered.about(about),
            Ok(Line::End) => {
                ended = true;
                break;
            }
            Err(fault) => sink.damaged(format_args!("stdin:{}: {fault}", lines.number)),
        }
        if gathered.samples >= GATHERED_MAX {
            gathered.hand_over(sink)?;
            sink.reached(lines.at);
        }
    }
    gathered.hand_over(sink)?;
    check_end(ended, &mut lines, "stdin", sink)?;
    sink.end();
    Ok(())
}

/// Text without its last line was cut off, and text after it is not meant to be there.
fn check_end(ended: bool, lines: &mut Lines<impl Read>, name: &str, sink: &mut Sink) -> Result<()> {
    if !ended {
        sink.damaged(format_args!("{name}:{}: the last line is not `# EOF`: is this all of it?", lines.number));
    } else if lines.next()?.is_some() {
        sink.damaged(format_args!("{name}:{}: something follows `# EOF`, which is not read", lines.number));
    }
    Ok(())
}

/// Lines of a text, with their places.
struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// Place of the next line.
    at: u64,
    /// Number of the line read last.
    number: u64,
}

impl<R: Read> Lines<R> {
    fn new(reader: R, at: u64) -> Self {
        Self { reader: BufReader::with_capacity(256 << 10, reader), line: Vec::new(), at, number: 0 }
    }

    /// The next line and its place.
    fn next(&mut self) -> io::Result<Option<(u64, Result<Line<'_>, openmetrics::Fault>)>> {
        self.line.clear();
        let bytes = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)?;
        if bytes == 0 {
            return Ok(None);
        }
        let at = self.at;
        self.at += u64::try_from(bytes).unwrap_or(u64::MAX);
        self.number += 1;
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some((at, openmetrics::line(line))))
    }
}

type Labels = Vec<(String, String)>;

/// A series, and what was gathered of it.
struct One {
    labels: Labels,
    samples: Samples,
    exemplars: Vec<Exemplar>,
}

/// Samples by series, and what is known of metrics.
#[derive(Default)]
struct Gathered {
    series: Vec<One>,
    places: HashMap<Labels, usize>,
    samples: usize,
    about: HashMap<String, About>,
    /// Metrics of which the server was told.
    told: HashSet<String>,
}

impl Gathered {
    fn about(&mut self, about: openmetrics::About<'_>) {
        match about {
            openmetrics::About::Type(name, kind) => self.about.entry(name.into_owned()).or_default().kind = kind,
            openmetrics::About::Help(name, help) => self.about.entry(name.into_owned()).or_default().help = help.into(),
            openmetrics::About::Unit(name, unit) => self.about.entry(name.into_owned()).or_default().unit = unit.into(),
        }
    }

    fn add(&mut self, sample: &openmetrics::Sample<'_>, choice: &Choice) {
        let borrowed: Vec<_> = sample.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        if !choice.takes(&borrowed) {
            return;
        }
        let owned = |labels: &openmetrics::Labels<'_>| -> Labels {
            labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let place = match self.places.entry(owned(&sample.labels)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let (labels, samples, exemplars) = (new.key().clone(), Samples::default(), Vec::new());
                self.series.push(One { labels, samples, exemplars });
                *new.insert(self.series.len() - 1)
            }
        };
        let Some(One { samples, exemplars, .. }) = self.series.get_mut(place) else { return };
        samples.floats.push(Sample { ts_ms: sample.ts_ms, bits: sample.bits, start_ms: 0 });
        self.samples += 1;
        if let Some(exemplar) = &sample.exemplar {
            let labels = owned(&exemplar.labels);
            exemplars.push(Exemplar { labels, ts_ms: exemplar.ts_ms, value: exemplar.value });
        }
    }

    fn hand_over(&mut self, sink: &mut Sink) -> Result<()> {
        self.places.clear();
        self.samples = 0;
        for One { labels, mut samples, mut exemplars } in self.series.drain(..) {
            samples.sort();
            exemplars.sort_by_key(|exemplar| exemplar.ts_ms);
            let name = labels.iter().find(|(name, _)| name == "__name__").map_or("", |(_, name)| name);
            let about = family(&self.about, name).filter(|_| !self.told.contains(name));
            if about.is_some() {
                self.told.insert(name.to_owned());
            }
            let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            sink.series(&Series { labels: &labels, samples: &samples, exemplars: &exemplars, about })?;
        }
        Ok(())
    }
}

/// What is known of the metric that a name belongs to: names of samples may go on after that of their metric.
fn family<'a>(about: &'a HashMap<String, About>, name: &str) -> Option<&'a About> {
    const ENDINGS: [&str; 8] = ["_total", "_bucket", "_count", "_sum", "_created", "_info", "_gcount", "_gsum"];
    let shorter = || ENDINGS.iter().filter_map(|ending| name.strip_suffix(ending)).find_map(|name| about.get(name));
    about.get(name).or_else(shorter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(places: &[(i64, u64, u64)]) -> BTreeMap<i64, Day> {
        places.iter().map(|&(day, from, to)| (day, Day { from, to, samples: 1 })).collect()
    }

    #[test]
    fn a_file_in_order_of_time_is_gone_through_by_days() {
        let days = days(
            &(0..500i64).map(|day| (day, day.unsigned_abs() * 10, day.unsigned_abs() * 10 + 12)).collect::<Vec<_>>(),
        );
        let windows = windows(&days, 5012);
        assert_eq!(windows.len(), 500);
        assert_eq!(windows[3].0, 3..4);
    }

    #[test]
    fn a_file_in_order_of_series_is_not_read_for_each_day() {
        let days = days(&(-100..400).map(|day| (day, 0, 5000)).collect::<Vec<_>>());
        let windows = windows(&days, 5000);
        assert!((4..=8).contains(&windows.len()), "{}", windows.len());
        assert_eq!(windows.iter().map(|(_, place)| place.samples).sum::<u64>(), 500);
        assert!(windows.is_sorted_by(|(a, _), (b, _)| a.end <= b.start));
    }

    #[test]
    fn names_of_samples_belong_to_their_metric() {
        let about = HashMap::from([("a".to_owned(), About { kind: 3, ..About::default() })]);
        for (name, known) in [("a", true), ("a_bucket", true), ("a_total", true), ("b_total", false), ("a_x", false)] {
            assert_eq!(family(&about, name).is_some(), known, "{name}");
        }
    }
}
