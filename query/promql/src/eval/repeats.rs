//! Values of expressions that occur again, kept until they do.
//!
//! A note has a place; what was noted on an expression is noted again at the place of the next one like it.

use hashbrown::HashMap;

use crate::{
    ast::Span,
    notes::Notes,
    plan::{Plan, Step},
    value::{Times, Value},
};

/// What is kept, and what is still to come.
pub(super) struct Repeats<'a> {
    text: &'a str,
    /// How often expressions of each class are met in all.
    met: &'a [u32],
    /// How often they still are.
    left: Vec<u32>,
    known: HashMap<(u32, Times), Kept>,
    cells: usize,
}

struct Kept {
    value: Value,
    notes: Notes,
    span: Span,
}

impl<'a> Repeats<'a> {
    pub(super) fn new(text: &'a str, met: &'a [u32]) -> Self {
        Self { text, met, left: met.to_vec(), known: HashMap::new(), cells: 0 }
    }

    /// Numbers that are kept.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// Does an expression occur more than once, and is it more work than a copy? What has no samples is not.
    pub(super) fn is_worth(&self, plan: &Plan) -> bool {
        let is_work = matches!(plan.node, Step::Call(..) | Step::Aggregate(_) | Step::Binary(_));
        is_work && self.met.get(plan.class as usize).is_some_and(|met| *met > 1)
    }

    /// The value of an expression like this that was evaluated at these times, and the notes on it.
    pub(super) fn take(&mut self, plan: &Plan, times: Times) -> Option<(Value, Notes)> {
        let key = (plan.class, times);
        let kept = self.known.get(&key)?;
        let text = |span: Span| self.text.get(span.start..span.end);
        // Laid out in another way, notes within it have other places.
        if !kept.notes.is_empty() && text(kept.span) != text(plan.span) {
            return None;
        }
        let found = (kept.value.clone(), kept.notes.moved(kept.span.start, plan.span.start));
        self.met(plan);
        Some(found)
    }

    /// One of them has its value. After the last one, nothing of it is kept.
    pub(super) fn met(&mut self, plan: &Plan) {
        let Some(left) = self.left.get_mut(plan.class as usize) else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            let cells = &mut self.cells;
            self.known.retain(|(class, _), kept| {
                let stays = *class != plan.class;
                *cells -= if stays { 0 } else { kept.value.cells() };
                stays
            });
        }
    }

    /// Keeps a value if it is wanted again.
    pub(super) fn keep(&mut self, plan: &Plan, times: Times, value: &Value, notes: &Notes) {
        let is_wanted = self.left.get(plan.class as usize).is_some_and(|left| *left > 0);
        let (cells, key) = (value.cells(), (plan.class, times));
        if is_wanted && !self.known.contains_key(&key) {
            self.known.insert(key, Kept { value: value.clone(), notes: notes.clone(), span: plan.span });
            self.cells += cells;
        }
    }
}
