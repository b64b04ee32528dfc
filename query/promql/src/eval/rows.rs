//! Shares the rows of a matrix, or another work that has parts, out among threads.

use std::{
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::value::Matrix;

/// Rows that a thread takes at once.
const ROWS_AT_ONCE: usize = 32;
/// Cells below which one thread is quicker than several.
pub(super) const CELLS_MIN: usize = 16 << 10;

/// Has parts of a work done by threads; gives what came of each, in no order, and what each thread gathered.
pub(super) fn share<P: Send, D: Send, T: Send + Default>(
    parts: Vec<P>,
    threads: usize,
    work: impl Fn(P, &mut T) -> D + Sync,
) -> (Vec<D>, Vec<T>) {
    let threads = threads.min(parts.len());
    let parts = Mutex::new(parts.into_iter());
    let run = || {
        let (mut done, mut state) = (Vec::new(), T::default());
        loop {
            let next = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(part) = next else { return (done, state) };
            done.push(work(part, &mut state));
        }
    };
    let of_threads = on_threads(threads, run);
    let (done, states): (Vec<_>, Vec<_>) = of_threads.into_iter().unzip();
    (done.into_iter().flatten().collect(), states)
}

/// Runs the same on some threads, this one among them.
fn on_threads<T: Send>(threads: usize, run: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(&run)).collect();
        let mut results = vec![run()];
        // A panic in a helper is a panic of the query.
        results.extend(helpers.into_iter().map(|helper| helper.join().unwrap_or_else(|panic| resume_unwind(panic))));
        results
    })
}

/// Fills each row by `fill`, which is given the number of the row and its cells; what it returns for each block of rows is handed
/// back, in no order. `weight`: about how many samples are looked at in all.
pub(super) fn fill<T: Send>(
    matrix: &mut Matrix,
    threads: usize,
    weight: usize,
    fill: impl Fn(usize, &mut [f64], &mut T) + Sync,
    begin: impl Fn() -> T + Sync,
) -> Vec<T> {
    let steps = matrix.steps.max(1);
    let many = threads > 1 && weight.max(matrix.rows.len()) >= CELLS_MIN;
    let blocks = Mutex::new(matrix.cells.chunks_mut(steps * ROWS_AT_ONCE).enumerate());
    let work = || {
        let mut state = begin();
        loop {
            let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((block, cells)) = next else { return state };
            for (row, cells) in cells.chunks_mut(steps).enumerate() {
                fill(block * ROWS_AT_ONCE + row, cells, &mut state);
            }
        }
    };
    on_threads(if many { threads } else { 1 }, work)
}
