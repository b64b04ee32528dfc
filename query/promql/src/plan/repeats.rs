//! Finds expressions that occur more than once in a plan, so that they are evaluated once.
//!
//! Each expression gets a class; two of a class have the same value when they are evaluated at the same times. Spaces and
//! parentheses make no difference, places neither.

use std::{collections::HashMap, fmt::Write as _};

use super::{Plan, Step};

/// Classes the expressions of a plan; gives how often each class is met by an evaluation that looks into an expression only the
/// first time.
pub(super) fn mark(plan: &mut Plan) -> Vec<u32> {
    let mut classes = HashMap::new();
    classify(plan, &mut classes);
    let mut met = vec![0; classes.len()];
    count(plan, &mut met);
    met
}

/// Children first: what an expression is beside its children, and their classes, make its class.
fn classify(plan: &mut Plan, classes: &mut HashMap<String, u32>) -> u32 {
    let mut key = plan.node.tag();
    plan.node.each_mut(&mut |child| {
        let class = classify(child, classes);
        // Writing to a string cannot fail.
        let _ = write!(key, " {class}");
    });
    let next = u32::try_from(classes.len()).unwrap_or(u32::MAX);
    plan.class = *classes.entry(key).or_insert(next);
    plan.class
}

fn count(plan: &Plan, met: &mut [u32]) {
    let Some(times) = met.get_mut(plan.class as usize) else { return };
    *times += 1;
    if *times == 1 {
        plan.node.each(&mut |child| count(child, met));
    }
}

impl Step {
    /// What it is, but for its children.
    fn tag(&self) -> String {
        match self {
            Self::Number(value) => format!("{:x}", value.to_bits()),
            Self::String(text) => format!("{text:?}"),
            Self::Negate(_) => "-".to_owned(),
            Self::Binary(of) => format!("{:?} {} {:?}", of.op, of.returns_bool, of.matching),
            Self::Aggregate(of) => format!("{:?} {} {:?}", of.op, of.without, of.labels),
            Self::Call(function, _) => format!("{}()", function.name),
            Self::Instant(select) => format!("{select:?}"),
            Self::Range(select, range_ms) => format!("{select:?} {range_ms}"),
            Self::Subquery(of) => format!("{} {} {:?}", of.range_ms, of.step_ms, of.moment),
        }
    }

    pub(super) fn each<'a>(&'a self, each: &mut dyn FnMut(&'a Plan)) {
        match self {
            Self::Number(_) | Self::String(_) | Self::Instant(_) | Self::Range(..) => {}
            Self::Negate(of) => each(of),
            Self::Binary(of) => [&of.left, &of.right].into_iter().for_each(each),
            Self::Aggregate(of) => of.param.iter().chain([&of.expr]).for_each(each),
            Self::Call(_, args) => args.iter().for_each(each),
            Self::Subquery(of) => each(&of.expr),
        }
    }

    fn each_mut(&mut self, each: &mut dyn FnMut(&mut Plan)) {
        match self {
            Self::Number(_) | Self::String(_) | Self::Instant(_) | Self::Range(..) => {}
            Self::Negate(of) => each(of),
            Self::Binary(of) => {
                each(&mut of.left);
                each(&mut of.right);
            }
            Self::Aggregate(of) => {
                of.param.iter_mut().for_each(&mut *each);
                each(&mut of.expr);
            }
            Self::Call(_, args) => args.iter_mut().for_each(each),
            Self::Subquery(of) => each(&mut of.expr),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Options, Query};

    /// How often the classes of expressions that occur more than once are met.
    fn repeats(text: &str) -> Vec<u32> {
        let options = Options {
            start_ms: 0,
            end_ms: 60_000,
            step_ms: 1_000,
            is_instant: false,
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            samples_max: 1_000,
            threads: 1,
            features: crate::Features::default(),
        };
        let planned = Query::parse(text).unwrap().plan(options).unwrap();
        planned.met.into_iter().filter(|met| *met > 1).collect()
    }

    #[test]
    fn what_is_written_twice_is_found_however_it_is_laid_out() {
        assert_eq!(repeats("rate(a[5m]) / ( (rate( a[5m] )) + rate(b[5m]))"), [2]);
        assert_eq!(repeats("sum(rate(a[5m])) / sum(rate(a[5m])) * sum(rate(a[5m]))"), [3]);
        assert_eq!(repeats("rate(a[5m]) - rate(a[4m]) + rate(b[5m])"), [0; 0]);
        assert_eq!(repeats("sum by (x) (a) + sum by (y) (a)"), [2]);
    }

    #[test]
    fn what_differs_by_a_modifier_is_another_expression() {
        for text in [
            "rate(a[5m]) / rate(a[5m] offset 1m)",
            "abs(a) / abs(a @ 5)",
            r#"abs(a{x="1"}) / abs(a{x!="1"})"#,
            "sum by (x) (a @ 1) / sum without (x) (a @ 2)",
            "histogram_count(rate(a[5m])) / sum(rate(a[5m]))",
        ] {
            assert_eq!(repeats(text), [0; 0], "{text}");
        }
    }
}
