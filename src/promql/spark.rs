//! Draws how a value went over time, in one line of characters.

/// From low to high.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A value that is no number.
const NAN: char = '×';

/// Values at times between `from` and `to`, in `width` characters: each is the mean of what falls to it, a space where there is
/// nothing. The scale is the series' own: the lowest to the highest of its finite values.
pub(super) fn line(points: &[(f64, f64)], from: f64, to: f64, width: usize) -> String {
    let mut sums = vec![(0.0, 0u32); width];
    for (time, value) in points {
        let place = if to > from { (time - from) / (to - from) } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "clamped"
        )]
        let place = (place.clamp(0.0, 1.0) * (width.saturating_sub(1)) as f64).round() as usize;
        if let Some((sum, count)) = sums.get_mut(place) {
            *sum += value;
            *count += 1;
        }
    }
    let finite = || points.iter().map(|(_, value)| *value).filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    sums.into_iter()
        .map(|(sum, count)| if count == 0 { ' ' } else { level(sum / f64::from(count), low, high) })
        .collect()
}

fn level(value: f64, low: f64, high: f64) -> char {
    if value.is_nan() {
        return NAN;
    }
    if low >= high && value.is_finite() {
        return LEVELS[3];
    }
    let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let at = (share * 7.0).round() as usize;
    LEVELS[at.min(7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_from_the_lowest_to_the_highest_level() {
        let points: Vec<_> = (0..8).map(|at| (f64::from(at), f64::from(at) * 10.0 - 5.0)).collect();
        assert_eq!(line(&points, 0.0, 7.0, 8), "▁▂▃▄▅▆▇█");
        assert_eq!(line(&points, 0.0, 7.0, 2), "▃▇");
    }

    #[test]
    fn gaps_are_spaces_and_what_is_no_number_is_marked() {
        let points = [(0.0, 1.0), (2.0, f64::NAN), (3.0, f64::INFINITY), (4.0, f64::NEG_INFINITY), (5.0, 3.0)];
        assert_eq!(line(&points, 0.0, 5.0, 6), "▁ ×█▁█");
        assert_eq!(line(&[(0.0, 7.0), (2.0, 7.0)], 0.0, 2.0, 3), "▄ ▄");
        assert_eq!(line(&[(5.0, 1.0)], 5.0, 5.0, 3), "▄  ");
        assert_eq!(line(&[], 0.0, 1.0, 2), "  ");
    }
}
