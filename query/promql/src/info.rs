//! What can be told of a call of `info` before a sample is read.
//!
//! `info` adds labels of info series, such as `target_info`, to the series of its first argument. Asked by `plan`: at which time info
//! series are looked up, and which are selected. What is made of them is in `eval/info.rs`.

use crate::{
    ast::Type,
    plan::{Moment, Plan, Step},
    selector::{Matcher, NAME, Op},
};

/// The metric whose labels are taken if none is named.
const TARGET_INFO: &str = "target_info";
/// Names of info metrics, where a query only says what they are not.
const ANY_INFO: &str = ".+_info";

/// The time at which all selectors of an expression look, relative to that of the step. `None` if they differ, or if a part of the
/// expression has no selector.
pub(crate) fn reference(plan: &Plan) -> Option<Moment> {
    let mut search = Search { first: None, is_uniform: true, enclosing: Vec::new() };
    search.visit(plan);
    search.first.filter(|_| search.is_uniform)
}

/// A walk over an expression in search of selectors.
struct Search {
    first: Option<Moment>,
    is_uniform: bool,
    /// Of the subqueries around, outermost first.
    enclosing: Vec<Moment>,
}

impl Search {
    /// Looks at all selectors that give series to a vector; says whether there are any.
    fn visit(&mut self, plan: &Plan) -> bool {
        if !matches!(plan.returns, Type::Vector | Type::Matrix) {
            return false;
        }
        let has_selector = match &plan.node {
            Step::Instant(select) | Step::Range(select, _) => {
                self.found(select.moment);
                return true;
            }
            // The second argument is no vector, it only looks like one.
            Step::Call(function, args) if function.name == "info" => {
                return args.first().is_some_and(|vector| self.visit(vector));
            }
            Step::Call(_, args) => self.visit_all(args),
            Step::Negate(operand) => self.visit(operand),
            Step::Binary(operation) => self.visit_all([&operation.left, &operation.right]),
            Step::Aggregate(aggregation) => self.visit_all([&aggregation.expr].into_iter().chain(&aggregation.param)),
            Step::Subquery(window) => {
                self.enclosing.push(window.moment);
                let has_selector = self.visit(&window.expr);
                self.enclosing.pop();
                has_selector
            }
            Step::Number(_) | Step::String(_) => false,
        };
        // A vector without selector is of the time of the step.
        self.is_uniform &= has_selector;
        has_selector
    }

    fn visit_all<'p>(&mut self, plans: impl IntoIterator<Item = &'p Plan>) -> bool {
        let mut has_selector = false;
        for plan in plans {
            has_selector |= self.visit(plan);
        }
        has_selector
    }

    fn found(&mut self, mut moment: Moment) {
        // Subqueries shift the time further, up to one that fixes it.
        for outer in self.enclosing.iter().rev() {
            if moment.at_ms.is_some() {
                break;
            }
            moment.offset_ms = moment.offset_ms.saturating_add(outer.offset_ms);
            moment.at_ms = outer.at_ms;
        }
        let first = *self.first.get_or_insert(moment);
        // Of any time two are the same exactly if they are of this one, given that both or neither are fixed.
        self.is_uniform &= first.at_ms.is_some() == moment.at_ms.is_some() && first.of(0) == moment.of(0);
    }
}

/// What info series must match, given the matchers of the second argument.
pub(crate) fn matchers(written: &[Matcher]) -> Vec<Matcher> {
    let mut matchers = name_matchers(written);
    matchers.extend(data_matchers(written).cloned());
    matchers
}

/// What the name of an info metric must match.
pub(crate) fn name_matchers(written: &[Matcher]) -> Vec<Matcher> {
    let mut names: Vec<Matcher> = written.iter().filter(|matcher| matcher.label() == NAME).cloned().collect();
    if names.is_empty() {
        return vec![Matcher::equal(NAME, TARGET_INFO)];
    }
    if !names.iter().any(|matcher| matches!(matcher.op, Op::Equal | Op::Match)) {
        let regex = crate::pattern::compile(ANY_INFO, 1).ok();
        names.insert(0, Matcher { label: NAME.to_owned(), op: Op::Match, value: ANY_INFO.to_owned(), regex });
    }
    names
}

/// What the labels that are taken must match.
pub(crate) fn data_matchers(written: &[Matcher]) -> impl Iterator<Item = &Matcher> {
    written.iter().filter(|matcher| matcher.label() != NAME)
}
