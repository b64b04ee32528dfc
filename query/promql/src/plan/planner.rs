//! Makes a plan of a tree.
//!
//! Each expression is planned with the times at which it will be evaluated, which subqueries change for what stands in them.

use std::sync::Arc;

use crate::{
    Error, ErrorKind, Result, Syntax,
    ast::{
        Aggregate, Aggregator, At, Binary, Call, Duration, Expr, Extent, Instant, Node, Shift, Span, Subquery, Type,
    },
    duration::seconds,
    functions::Signature,
    selector::Matcher,
    value::Times,
};

use super::{Aggregation, Moment, OF_TIME, Operation, Options, Plan, Select, Step, Want, Window, lag, repeats};

/// Functions that take what `anchored` and `smoothed` give.
const OF_ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const OF_SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

/// Longest gap between the times of two selectors of the same series that are still read together, as a share of what they read.
const GAP_SHARE: i64 = 4;

/// A plan, and what is known of it.
#[derive(Debug)]
pub(crate) struct Made {
    pub plan: Plan,
    /// The samples it needs.
    pub wants: Vec<Want>,
    /// How often each class of expressions is met by an evaluation.
    pub met: Vec<u32>,
    /// How long before a step all samples are that it depends on, if it depends on nothing else.
    pub lag_ms: Option<i64>,
    pub has_subqueries: bool,
}

/// Plans a query.
///
/// # Errors
/// `Invalid` if it needs what is switched off or a duration is none, with the place in `text`.
pub(crate) fn plan(expr: &Expr, text: &str, options: &Options) -> Result<Made> {
    let times = Times::range(options.start_ms, options.end_ms, options.step_ms.max(1));
    let mut planner =
        Planner { text, options, wants: Vec::new(), path: Vec::new(), asks_range: false, has_subqueries: false };
    let mut plan = planner.expr(expr, times)?;
    let met = repeats::mark(&mut plan);
    let lag_ms = lag::of(&plan, options.lookback_ms).filter(|_| !planner.asks_range);
    Ok(Made { plan, wants: planner.wants, met, lag_ms, has_subqueries: planner.has_subqueries })
}

struct Planner<'a> {
    text: &'a str,
    options: &'a Options,
    wants: Vec<Want>,
    /// What stands around the expression that is being planned, by name, the outermost first.
    path: Vec<&'static str>,
    /// Is anything asked about the range of the query?
    asks_range: bool,
    has_subqueries: bool,
}

impl Planner<'_> {
    fn expr(&mut self, expr: &Expr, times: Times) -> Result<Plan> {
        let name = match &expr.node {
            Node::Call(call) => call.function.name,
            Node::Aggregate(aggregate) => aggregate.op.as_str(),
            Node::Binary(binary) => binary.op.as_str(),
            Node::Subquery(_) => "subquery",
            _ => "",
        };
        self.path.push(name);
        let plan = self.node(expr, times);
        self.path.pop();
        plan
    }

    fn node(&mut self, expr: &Expr, times: Times) -> Result<Plan> {
        let span = expr.span;
        let plan = |node, fixed| Plan { node, span, fixed, returns: expr.value_type(), class: 0 };
        Ok(match &expr.node {
            Node::Number { value, .. } => plan(Step::Number(*value), true),
            Node::String(text) => plan(Step::String(text.clone()), true),
            Node::Paren(inner) => self.expr(inner, times)?,
            Node::Unary { negative, operand } => {
                let operand = self.expr(operand, times)?;
                if !negative {
                    return Ok(operand);
                }
                let fixed = operand.fixed;
                plan(Step::Negate(Box::new(operand)), fixed)
            }
            Node::Binary(binary) => {
                let operation = self.binary(binary, span, times)?;
                let fixed = operation.left.fixed && operation.right.fixed;
                plan(Step::Binary(Box::new(operation)), fixed)
            }
            Node::Aggregate(aggregate) => {
                let aggregation = self.aggregate(aggregate, span, times)?;
                let fixed = aggregation.expr.fixed && aggregation.param.as_ref().is_none_or(|param| param.fixed);
                plan(Step::Aggregate(Box::new(aggregation)), fixed)
            }
            Node::Call(call) => self.call(call, span, times)?,
            Node::Instant(selector) => {
                let select = self.select(selector, times, None)?;
                let fixed = select.moment.at_ms.is_some();
                plan(Step::Instant(select), fixed)
            }
            Node::Range(range) => {
                let range_ms = self.positive(&range.range)?;
                let select = self.select(&range.selector, times, Some(range_ms))?;
                let fixed = select.moment.at_ms.is_some();
                plan(Step::Range(select, range_ms), fixed)
            }
            Node::Subquery(subquery) => {
                let window = self.subquery(subquery, times)?;
                let fixed = window.moment.at_ms.is_some();
                plan(Step::Subquery(Box::new(window)), fixed)
            }
        })
    }

    fn binary(&mut self, binary: &Binary, span: Span, times: Times) -> Result<Operation> {
        let matching = binary.matching.clone();
        let fills = matching.as_ref().is_some_and(|m| m.fill_left.is_some() || m.fill_right.is_some());
        if fills && !self.options.features.fill {
            return Err(self.switched_off("fill modifiers are experimental and not enabled", span));
        }
        Ok(Operation {
            op: binary.op,
            span,
            left: self.expr(&binary.left, times)?,
            right: self.expr(&binary.right, times)?,
            returns_bool: binary.returns_bool,
            matching,
        })
    }

    fn aggregate(&mut self, aggregate: &Aggregate, span: Span, times: Times) -> Result<Aggregation> {
        let is_experimental = matches!(aggregate.op, Aggregator::Limitk | Aggregator::LimitRatio);
        if is_experimental && !self.options.features.experimental_functions {
            let what = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                aggregate.op.as_str()
            );
            return Err(self.switched_off(&what, span));
        }
        let param = aggregate.param.as_ref().map(|param| self.expr(param.unwrapped(), times)).transpose()?;
        let expr = self.expr(aggregate.expr.unwrapped(), times)?;
        Ok(Aggregation {
            op: aggregate.op,
            span,
            expr,
            param,
            labels: aggregate.labels.clone(),
            without: aggregate.without,
        })
    }

    fn call(&mut self, call: &Call, span: Span, times: Times) -> Result<Plan> {
        let function = call.function;
        if function.experimental && !self.options.features.experimental_functions {
            let what = format!("function {} is not enabled", crate::literal::quoted(function.name));
            return Err(self.switched_off(&what, span));
        }
        let Options { start_ms, end_ms, step_ms, is_instant, .. } = *self.options;
        let constant = match function.name {
            "start" => Some(seconds(start_ms)),
            "end" => Some(seconds(end_ms)),
            "range" => Some(seconds(end_ms - start_ms)),
            "step" if is_instant => Some(0.0),
            "step" => Some(seconds(step_ms)),
            _ => None,
        };
        if let Some(value) = constant {
            self.asks_range = true;
            return Ok(Plan { node: Step::Number(value), span, fixed: true, returns: Type::Scalar, class: 0 });
        }
        let mut args = Vec::with_capacity(call.args.len());
        for (at, arg) in call.args.iter().enumerate() {
            let arg = arg.unwrapped();
            let arg = match (&arg.node, function.name, at) {
                (Node::Instant(labels), "info", 1) => self.info_series(labels, arg.span, &args, times),
                _ => self.expr(arg, times)?,
            };
            args.push(arg);
        }
        if function.name == "info" && args.len() == 1 {
            let none = Instant {
                name: None,
                matchers: Arc::new([]),
                syntax: Syntax::default(),
                shift: Shift::default(),
                extent: Extent::Plain,
            };
            args.push(self.info_series(&none, span, &args, times));
        }
        check_extent(function, &args)?;
        let is_of_time = OF_TIME.contains(&function.name);
        // The time of a sample that is always the same is always the same.
        let is_fixed_time =
            function.name == "timestamp" && args.iter().all(|arg| arg.fixed && matches!(arg.node, Step::Instant(_)));
        let fixed = args.iter().all(|arg| arg.fixed) && (!is_of_time || is_fixed_time);
        Ok(Plan { node: Step::Call(function, args), span, fixed, returns: function.returns, class: 0 })
    }

    /// The second argument of `info`: series whose labels are added to those of the first.
    fn info_series(&mut self, labels: &Instant, span: Span, args: &[Plan], times: Times) -> Plan {
        let reference = args.first().and_then(crate::info::reference);
        let moment = reference.unwrap_or(Moment { offset_ms: 0, at_ms: None });
        let matchers: Arc<[Matcher]> = crate::info::matchers(&labels.matchers).into();
        let (first, last) = moment.of_first_and_last(times);
        let after_ms = first.saturating_sub(self.options.lookback_ms);
        let want = self.want(Want { matchers, after_ms, to_ms: last, presence: false });
        // The matchers are kept as they were written: they say which labels are taken.
        let select =
            Select { want, matchers: Arc::clone(&labels.matchers), moment, extent: Extent::Plain, totals: false };
        // Different times of what is looked at make the result depend on the step.
        Plan { node: Step::Instant(select), span, fixed: reference.is_some(), returns: Type::Vector, class: 0 }
    }

    fn select(&mut self, selector: &Instant, times: Times, range_ms: Option<i64>) -> Result<Select> {
        let extent = selector.extent;
        let moment = self.moment(&selector.shift)?;
        let lookback = self.options.lookback_ms;
        let before = match (range_ms, extent) {
            (None, _) => lookback,
            (Some(range), Extent::Plain) => range,
            (Some(range), _) => range.saturating_add(lookback),
        };
        let after = if extent == Extent::Smoothed { lookback } else { 0 };
        let (first, last) = moment.of_first_and_last(times);
        let matchers = Arc::clone(&selector.matchers);
        let presence = range_ms.is_none() && extent == Extent::Plain && self.is_counted();
        let (after_ms, to_ms) = (first.saturating_sub(before), last.saturating_add(after));
        let want = Want { matchers, after_ms, to_ms, presence };
        let want = self.want(want);
        Ok(Select { want, matchers: Arc::clone(&selector.matchers), moment, extent, totals: self.asks_totals() })
    }

    /// Are the series that are selected here only counted?
    fn is_counted(&self) -> bool {
        matches!(self.path.as_slice(), [.., "count" | "group", _])
    }

    /// Is a histogram that is selected here only asked for its count and sum?
    fn asks_totals(&self) -> bool {
        let mut totals = false;
        for name in self.path.iter().rev() {
            match *name {
                "histogram_count" | "histogram_sum" | "histogram_avg" | "timestamp" | "start_timestamp" | "absent" => {
                    totals = true;
                }
                "subquery"
                | "histogram_quantile"
                | "histogram_quantiles"
                | "histogram_fraction"
                | "histogram_stddev"
                | "histogram_stdvar"
                | "changes"
                | "count_values"
                | "</"
                | ">/"
                | "=="
                | "!=" => return false,
                _ => {}
            }
        }
        totals
    }

    /// Notes what is wanted; gives which of the wants has it.
    fn want(&mut self, new: Want) -> usize {
        let length = |want: &Want| want.to_ms.saturating_sub(want.after_ms);
        for (at, known) in self.wants.iter_mut().enumerate() {
            let together = Want {
                matchers: Arc::clone(&known.matchers),
                after_ms: known.after_ms.min(new.after_ms),
                to_ms: known.to_ms.max(new.to_ms),
                presence: known.presence && new.presence,
            };
            let read = length(known).saturating_add(length(&new));
            if known.matchers == new.matchers && length(&together) <= read.saturating_add(read / GAP_SHARE) {
                *known = together;
                return at;
            }
        }
        self.wants.push(new);
        self.wants.len() - 1
    }

    fn subquery(&mut self, subquery: &Subquery, times: Times) -> Result<Window> {
        self.has_subqueries = true;
        let range_ms = self.positive(&subquery.range)?;
        let step_ms = match &subquery.step {
            Some(step) => self.positive(step)?,
            None => self.options.subquery_step_ms,
        };
        let moment = self.moment(&subquery.shift)?;
        let number =
            Plan { node: Step::Number(0.0), span: subquery.expr.span, fixed: true, returns: Type::Scalar, class: 0 };
        let mut window = Window { expr: number, range_ms, step_ms, moment };
        window.expr = self.expr(&subquery.expr, window.times(times))?;
        Ok(window)
    }

    fn moment(&mut self, shift: &Shift) -> Result<Moment> {
        let offset_ms = match &shift.offset {
            Some(offset) => self.duration(offset, false)?,
            None => 0,
        };
        let at_ms = shift.at.map(|at| match at {
            At::Time(time) => time,
            At::Start => self.options.start_ms,
            At::End => self.options.end_ms,
        });
        Ok(Moment { offset_ms, at_ms })
    }

    fn positive(&mut self, duration: &Duration) -> Result<i64> {
        self.duration(duration, true)
    }

    fn duration(&mut self, duration: &Duration, positive: bool) -> Result<i64> {
        self.asks_range |= duration.asks_range();
        let Options { start_ms, end_ms, step_ms, is_instant, .. } = *self.options;
        let step_ms = if is_instant { 0 } else { step_ms };
        let range_ms = end_ms - start_ms;
        let seconds =
            if positive { duration.positive_seconds(step_ms, range_ms) } else { duration.seconds(step_ms, range_ms) };
        let seconds = seconds.map_err(|wrong| crate::wrong(self.text, wrong.message, wrong.at))?;
        Ok(duration.milliseconds(seconds))
    }

    fn switched_off(&self, what: &str, at: Span) -> Error {
        crate::wrong(self.text, what, at)
    }
}

fn check_extent(function: &'static Signature, args: &[Plan]) -> Result<()> {
    for arg in args {
        let Step::Range(select, _) = &arg.node else { continue };
        let (modifier, safe): (&str, &[&str]) = match select.extent {
            Extent::Plain => continue,
            Extent::Anchored => ("anchored", &OF_ANCHORED),
            Extent::Smoothed => ("smoothed", &OF_SMOOTHED),
        };
        if !safe.contains(&function.name) {
            let what =
                format!("{modifier} modifier can only be used with: {} - not with {}", safe.join(", "), function.name);
            return Err(Error::new(ErrorKind::Execution, what));
        }
    }
    Ok(())
}
