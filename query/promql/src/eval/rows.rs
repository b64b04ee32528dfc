//! Shares the rows of a matrix out among threads.

use std::{
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::value::Matrix;

/// Rows that a thread takes at once.
const ROWS_AT_ONCE: usize = 32;
/// Cells below which one thread is quicker than several.
const CELLS_MIN: usize = 16 << 10;

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
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..if many { threads } else { 1 }).map(|_| scope.spawn(work)).collect();
        let mut states = vec![work()];
        // A panic in a helper is a panic of the query.
        states.extend(helpers.into_iter().map(|helper| helper.join().unwrap_or_else(|panic| resume_unwind(panic))));
        states
    })
}
