//! Draws numbers as SVG in the page: lines over time, and bars.
//!
//! Used by the overview and the PromQL console. All of a picture is in its markup, colours in `page.css` by class, so it needs no script.
//! Invariant: a picture has a name for those who do not see it, and the numbers stand beside it in a table.

use std::fmt::Write as _;

use chrono::DateTime;

use super::html::Html;

/// Size of a picture in its own units; the page scales it to its width.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 300.0;
/// Room beside the drawing, for numbers and times.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 32.0;
/// Colours there are; more lines begin again with the first.
pub(super) const COLOURS: usize = 10;
/// Numbers on an axis, about.
const TICKS: f64 = 4.0;
/// Beyond this the day says more than the hour, seconds.
const DAYS_FROM: f64 = 2.0 * 86_400.0;

/// What a picture shows: times in seconds.
pub(super) struct Span {
    pub from: f64,
    pub to: f64,
    /// Between two points that belong together, at most.
    pub step: f64,
}

/// Numbers from the lowest to the highest that is drawn, and those that stand beside them.
struct Scale {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Scale {
    /// Of values that are finite. What is not negative begins at 0 unless it varies little.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low >= 0.0 && low < high * 0.8 {
            low = 0.0;
        }
        let least = (high.abs().max(low.abs()) * 1e-9).max(f64::MIN_POSITIVE);
        if high - low < least {
            let half = (high.abs() / 2.0).max(0.5);
            (low, high) = (low - half, high + half);
        }
        // Of numbers at the ends of what there is no difference is left.
        if !(high - low).is_finite() {
            return Self { low: f64::MIN / 4.0, high: f64::MAX / 4.0, ticks: vec![0.0] };
        }
        let step = round_step((high - low) / TICKS);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let mut ticks = Vec::new();
        let mut at = first;
        // `TICKS` and some; where adding 1 changes nothing any more there are none.
        while at <= last && ticks.len() < 12 && at + 1.0 > at {
            ticks.push(at * step);
            at += 1.0;
        }
        Self { low: first * step, high: last * step, ticks }
    }

    /// From the top of the picture.
    fn y(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, html: &mut Html) {
        for tick in &self.ticks {
            let y = self.y(*tick);
            html.put(
                "<path class=\"grid\" d=\"M{} {}H{}\"/><text class=\"end\" x=\"{}\" y=\"{}\">{}</text>",
                &[&LEFT, &one(y), &(WIDTH - RIGHT), &(LEFT - 8.0), &one(y + 5.0), &short(*tick)],
            );
        }
    }
}

/// The least of 1, 2, 5, 10, 20, 50, … that is as large.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= step * (1.0 - 1e-9)).unwrap_or(10.0);
    times * power
}

/// A number of a picture, to a tenth.
fn one(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A number for people, of four digits at most.
pub(super) fn short(value: f64) -> String {
    if !value.is_finite() {
        return match value {
            _ if value.is_nan() => "NaN".to_owned(),
            _ if value > 0.0 => "+Inf".to_owned(),
            _ => "-Inf".to_owned(),
        };
    }
    let size = value.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-3) {
        return format!("{value:.2e}");
    }
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, name) = units.into_iter().find(|(unit, _)| size >= *unit).unwrap_or((1.0, ""));
    let scaled = value / unit;
    let digits = match scaled.abs() {
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{name}", if text == "-0" { "0" } else { text })
}

fn begin(name: &str) -> Html {
    Html::of(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\"><title>{}</title>",
        &[&WIDTH, &HEIGHT, &name, &name],
    )
}

/// Lines of `(seconds, value)`, each in the order of time; a value that is no number, or a longer pause than the step, breaks a line.
pub(super) fn lines(name: &str, span: &Span, lines: &[Vec<(f64, f64)>]) -> Html {
    let mut html = begin(name);
    let finite = lines.iter().flatten().map(|(_, value)| *value).filter(|value| value.is_finite());
    let scale = Scale::of(finite);
    scale.draw(&mut html);
    let length = (span.to - span.from).max(1e-3);
    let x = |time: f64| LEFT + ((time - span.from) / length).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
    for quarter in 0..=4_i32 {
        let time = span.from + length * f64::from(quarter) / 4.0;
        let class = ["start", "mid", "mid", "mid", "end"][usize::try_from(quarter).unwrap_or(0)];
        html.put(
            "<text class=\"{}\" x=\"{}\" y=\"{}\">{}</text>",
            &[&class, &one(x(time)), &(HEIGHT - 8.0), &clock(time, length)],
        );
    }
    for (at, line) in lines.iter().enumerate() {
        let mut path = String::new();
        let mut before: Option<f64> = None;
        for (time, value) in line {
            if !value.is_finite() {
                before = None;
                continue;
            }
            let (x, y) = (one(x(*time)), one(scale.y(*value)));
            // A point alone is a line of no length, whose round ends are seen.
            let _ = match before.filter(|before| time - before <= span.step * 1.5) {
                Some(_) => write!(path, "L{x} {y}"),
                None => write!(path, "M{x} {y}h0"),
            };
            before = Some(*time);
        }
        html.put("<path class=\"line c{}\" d=\"{}\"/>", &[&(at % COLOURS), &path]);
    }
    html.put("</svg>", &[]);
    html
}

/// A bar for each value, with what stands below it where there is room.
pub(super) fn bars(name: &str, bars: &[(String, f64)]) -> Html {
    /// Names below bars.
    const NAMES: usize = 8;
    let mut html = begin(name);
    let scale = Scale::of(bars.iter().map(|(_, value)| *value).filter(|value| value.is_finite()).chain([0.0]));
    scale.draw(&mut html);
    let count = u32::try_from(bars.len()).unwrap_or(u32::MAX).max(1);
    let room = (WIDTH - LEFT - RIGHT) / f64::from(count);
    let every = bars.len().div_ceil(NAMES).max(1);
    let mut left = LEFT;
    for (at, (name, value)) in bars.iter().enumerate() {
        let value_drawn = if value.is_finite() { *value } else { 0.0 };
        let (y, zero) = (scale.y(value_drawn.max(0.0)), scale.y(value_drawn.min(0.0)));
        html.put(
            "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}: {}</title></rect>",
            &[&one(left + room * 0.1), &one(y), &one(room * 0.8), &one(zero - y), name, &short(*value)],
        );
        if at % every == 0 {
            html.put(
                "<text class=\"mid\" x=\"{}\" y=\"{}\">{}</text>",
                &[&one(left + room / 2.0), &(HEIGHT - 8.0), name],
            );
        }
        left += room;
    }
    html.put("</svg>", &[]);
    html
}

/// A time, UTC, as short as the length of the picture allows.
fn clock(seconds: f64, length: f64) -> String {
    let format = match length {
        _ if length >= DAYS_FROM => "%d %b",
        _ if length < 600.0 => "%H:%M:%S",
        _ => "%H:%M",
    };
    #[expect(clippy::cast_possible_truncation, reason = "times beyond are none")]
    let time = DateTime::from_timestamp(seconds as i64, 0);
    time.map_or_else(String::new, |time| time.format(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(points: &[(f64, f64)]) -> String {
        lines("load", &Span { from: 0.0, to: 100.0, step: 10.0 }, &[points.to_vec()]).into_text()
    }

    #[test]
    fn a_line_goes_from_end_to_end_and_breaks_where_nothing_is() {
        let svg = text(&[(0.0, 0.0), (10.0, 5.0), (20.0, f64::NAN), (30.0, 5.0), (100.0, 10.0)]);
        assert!(svg.contains("d=\"M70 268h0L141.8 140M285.4 140h0M788 12h0\""), "{svg}");
        assert!(
            svg.contains("aria-label=\"load\"") && svg.contains(">00:00:00<") && svg.contains(">00:01:40<"),
            "{svg}"
        );
    }

    #[test]
    fn numbers_at_the_ends_are_drawn_inside_the_picture() {
        for points in [
            vec![],
            vec![(0.0, f64::INFINITY)],
            vec![(50.0, 7.0)],
            vec![(0.0, f64::MAX), (10.0, f64::MIN)],
            vec![(0.0, 1e-320), (10.0, 0.0)],
            vec![(0.0, 1e15), (10.0, 1e15 + 1.0)],
        ] {
            let svg = text(&points);
            let drawn = !svg.contains("NaN\"") && !svg.contains("inf") && svg.ends_with("</svg>");
            assert!(drawn, "{points:?}: {svg}");
        }
    }

    #[test]
    fn bars_stand_on_zero_and_hang_below_it() {
        let svg = bars("spend", &[("1".to_owned(), 10.0), ("<2>".to_owned(), -10.0)]).into_text();
        assert!(svg.contains("y=\"12\" width=\"287.2\" height=\"128\"><title>1: 10<"), "{svg}");
        assert!(svg.contains("y=\"140\" width=\"287.2\" height=\"128\"><title>&lt;2&gt;: -10<"), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1234.0, "1.234k"),
            (12_345_678.0, "12.35M"),
            (999.96, "1000"),
            (0.25, "0.25"),
            (0.0001, "1.00e-4"),
            (-2e16, "-2.00e16"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn steps_are_round() {
        for (step, expected) in [(0.3, 0.5), (1.0, 1.0), (2.5, 5.0), (7.0, 10.0)] {
            assert!((round_step(step) - expected).abs() < 1e-9, "{step}");
        }
    }
}
