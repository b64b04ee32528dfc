//! Takes the series of a source: counts them, or makes requests of them and has them sent, and notes what was acknowledged.
//!
//! Called by the sources. A source goes through its parts, oldest first, in the same order each time, and says where it is in a part;
//! when all requests up to a place are answered, the place is noted. Invariants: what is noted was answered; a part of which something
//! was refused or left out is not noted as done, nor any place of it behind that, so the same import tries it again; memory holds one
//! request more than are under way. What is damaged or refused is told, up to a number of lines, counted, and costs nothing else.

use std::{
    collections::{HashSet, VecDeque},
    fmt::Display,
    mem,
    sync::Arc,
};

use anyhow::Result;
use storage::Clock;

use super::{
    deliver::{Deliver, Event},
    encode::{self, Counts, Request, Sent, Series},
    labels::Relabel,
    progress::Progress,
    state::{self, State},
};

/// Bytes of a request before compression: some hundred thousand samples. More makes nothing faster and a repeat dearer.
const REQUEST_BYTES: usize = 2 << 20;
/// How many lines are printed of damage, and of refusals.
const LINES_MAX: u64 = 20;
/// Names and values of a series' labels that are believed to be ones. The server takes less; requests have to hold them.
const LABEL_BYTES_MAX: usize = 64 << 10;
/// How often the state is written.
const SAVE_US: i64 = 1_000_000;

/// What came of an import.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Series, if they were counted.
    pub(super) series: Option<usize>,
    /// What was counted, or what the server has now.
    pub(crate) taken: Counts,
    /// What the server refused.
    pub(crate) refused: u64,
    /// Parts of the source that could not be read.
    pub(super) damaged: u64,
    pub(super) seconds: f64,
    /// All of it was imported before.
    pub(super) nothing_new: bool,
    /// The source has nothing of what was chosen.
    pub(super) nothing_selected: bool,
}

enum Mode {
    Count(HashSet<u64>),
    Send(Deliver),
}

/// Where the source was when a request was complete.
struct Mark {
    request: u64,
    /// Parts that it has something of.
    parts: Vec<String>,
    finished: usize,
    current: Option<(String, u64)>,
}

/// Where series go.
pub(crate) struct Sink {
    mode: Mode,
    relabel: Arc<Relabel>,
    request: Request,
    /// Parts that the request has something of.
    parts: Vec<String>,
    marks: VecDeque<Mark>,
    answered: HashSet<u64>,
    /// Parts that were gone through since the last acknowledged one.
    finished: Vec<String>,
    current: Option<(String, u64)>,
    /// Parts of which something was refused or left out.
    faulty: HashSet<String>,
    state: State,
    pub(crate) progress: Progress,
    clock: Clock,
    saved_us: i64,
    outcome: Outcome,
    refusals: u64,
    /// The source had something of what was chosen.
    selected: bool,
}

impl Sink {
    /// Counts what it is given.
    pub(super) fn counting(relabel: Relabel, clock: &Clock) -> Self {
        Self::new(Mode::Count(HashSet::new()), relabel, State::none(), clock)
    }

    /// Sends what it is given, with other labels, by those who deliver.
    pub(super) fn sending(deliver: Deliver, relabel: Relabel, state: State, clock: &Clock) -> Self {
        Self::new(Mode::Send(deliver), relabel, state, clock)
    }

    fn new(mode: Mode, relabel: Relabel, state: State, clock: &Clock) -> Self {
        Self {
            mode,
            relabel: Arc::new(relabel),
            request: Request::default(),
            parts: Vec::new(),
            marks: VecDeque::new(),
            answered: HashSet::new(),
            finished: Vec::new(),
            current: None,
            faulty: HashSet::new(),
            state,
            progress: Progress::new(clock.clone(), "samples"),
            clock: clock.clone(),
            saved_us: clock.now_us(),
            outcome: Outcome::default(),
            refusals: 0,
            selected: false,
        }
    }

    /// Begins a part of the source. Says from which place on it is to be gone through; `None` if it is done.
    pub(super) fn begin(&mut self, part: &str) -> Option<u64> {
        let state::Progress { done, current, .. } = &self.state.progress;
        if done.contains(part) {
            return None;
        }
        let from = current.as_ref().filter(|(current, _)| current == part).map_or(0, |(_, place)| *place);
        self.current = Some((part.to_owned(), from));
        Some(from)
    }

    /// Begins what is gone through each time, and is no part.
    pub(super) fn begin_again(&mut self) {
        self.current = None;
    }

    /// All before this place of the part has been handed over.
    pub(super) fn reached(&mut self, place: u64) {
        if let Some((_, reached)) = &mut self.current {
            *reached = place;
        }
    }

    /// All of the part has been handed over.
    pub(super) fn end(&mut self) {
        if let Some((part, _)) = self.current.take() {
            self.finished.push(part);
        }
    }

    /// Takes a series, or a piece of one; the pieces of a series come in order of time.
    ///
    /// # Errors
    /// Why nothing can be sent any more.
    pub(crate) fn series(&mut self, series: &Series<'_>) -> Result<()> {
        if series.samples.is_empty() && series.exemplars.is_empty() {
            return Ok(());
        }
        self.selected = true;
        let relabel = Arc::clone(&self.relabel);
        let mut labels = series.labels.to_vec();
        relabel.apply(&mut labels);
        let bytes = labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes > LABEL_BYTES_MAX {
            let name = labels.iter().find(|(name, _)| *name == "__name__").map_or("", |(_, name)| *name);
            let begin = name.split_at(name.floor_char_boundary(100)).0;
            self.damaged(format_args!(
                "a series has more labels than can be sent: metric={begin:?} label_bytes={bytes} limit={LABEL_BYTES_MAX}"
            ));
            return Ok(());
        }
        let series = &Series { labels: &labels, ..*series };
        if let Mode::Count(seen) = &mut self.mode {
            seen.insert(encode::identity(series.labels));
            let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
            self.outcome.taken.add(Counts {
                samples: count(series.samples.floats.len()),
                histograms: count(series.samples.histograms.len()),
                exemplars: count(series.exemplars.len()),
            });
            self.progress.show(self.outcome.taken.total());
            return Ok(());
        }
        let mut sent = Sent::default();
        loop {
            if let Some((part, _)) = self.current.as_ref().filter(|(part, _)| self.parts.last() != Some(part)) {
                self.parts.push(part.clone());
            }
            if self.request.add(series, &mut sent, REQUEST_BYTES) {
                return Ok(());
            }
            self.flush()?;
        }
    }

    /// Says that the part is not whole, for a reason that was told.
    pub(super) fn incomplete(&mut self) {
        if let Some((part, _)) = &self.current {
            self.faulty.insert(part.clone());
        }
    }

    /// Says that something of the source cannot be read.
    pub(super) fn damaged(&mut self, what: impl Display) {
        self.incomplete();
        self.outcome.damaged += 1;
        match self.outcome.damaged {
            n if n <= LINES_MAX => self.progress.note(format_args!("left out: {what}")),
            n if n == LINES_MAX + 1 => self.progress.note("more is left out and counted"),
            _ => {}
        }
    }

    /// Sends the rest, waits for all answers, and says what came of it. `ended` is how the source came to its end.
    ///
    /// # Errors
    /// That of the source; why not everything could be sent, or noted.
    pub(super) fn finish(mut self, ended: Result<()>) -> Result<Outcome> {
        let ended = ended.and_then(|()| self.drain());
        self.progress.end();
        let saved = self.state.save();
        ended.and(saved)?;
        if let Mode::Count(seen) = &self.mode {
            self.outcome.series = Some(seen.len());
        }
        let taken_before = self.state.progress.taken > 0;
        self.outcome.nothing_new = !self.selected && taken_before && self.outcome.damaged == 0;
        self.outcome.nothing_selected = !self.selected && !taken_before;
        self.outcome.seconds = self.progress.seconds();
        Ok(self.outcome)
    }

    fn drain(&mut self) -> Result<()> {
        self.flush()?;
        while matches!(&self.mode, Mode::Send(deliver) if !deliver.is_idle()) {
            self.wait()?;
        }
        self.done(self.finished.len());
        self.state.progress.current = None;
        Ok(())
    }

    /// Notes the first so many parts that were gone through.
    fn done(&mut self, finished: usize) {
        let whole = self.finished.drain(..finished).filter(|part| !self.faulty.contains(part));
        self.state.progress.done.extend(whole);
    }

    /// Hands the request over to be sent, as soon as it may be.
    fn flush(&mut self) -> Result<()> {
        if self.request.is_empty() {
            return Ok(());
        }
        let (message, mut series, counts) = self.request.take();
        series.sort_unstable();
        series.dedup();
        while let Mode::Send(deliver) = &mut self.mode {
            if let Some(event) = deliver.happened() {
                self.take(event)?;
            } else if deliver.may_send(&series) {
                let request = deliver.send(message, series, counts)?;
                let (finished, current) = (self.finished.len(), self.current.clone());
                let parts = mem::take(&mut self.parts);
                self.marks.push_back(Mark { request, parts, finished, current });
                break;
            } else {
                self.wait()?;
            }
        }
        self.progress.show(self.outcome.taken.total());
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        if let Mode::Send(deliver) = &mut self.mode
            && let Some(event) = deliver.next()?
        {
            self.take(event)?;
        }
        self.progress.show(self.outcome.taken.total());
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Failed(error) => return Err(error),
            Event::Again { reason, pause_ms } => {
                #[allow(clippy::cast_precision_loss, reason = "for people")]
                let seconds = pause_ms as f64 / 1000.0;
                self.progress.note(format_args!("{reason}; sent again in {seconds:.1} s"));
            }
            Event::Answered { number, written, said, sent } => {
                self.outcome.taken.add(written);
                self.state.progress.taken += written.total();
                let refused = sent.total().saturating_sub(written.total());
                if refused > 0 {
                    let of = self.marks.iter_mut().find(|mark| mark.request == number);
                    self.faulty.extend(of.into_iter().flat_map(|mark| mem::take(&mut mark.parts)));
                    self.outcome.refused += refused;
                }
                if let Some(said) = said {
                    self.refusals += 1;
                    match self.refusals {
                        n if n <= LINES_MAX => self.progress.note(format_args!("refused: {said}")),
                        n if n == LINES_MAX + 1 => self.progress.note("more is refused and counted"),
                        _ => {}
                    }
                }
                self.answered.insert(number);
                self.note()?;
            }
        }
        Ok(())
    }

    /// Notes how far everything is answered.
    fn note(&mut self) -> Result<()> {
        let mut reached = None;
        while let Some(mark) = self.marks.pop_front_if(|mark| self.answered.remove(&mark.request)) {
            reached = Some(mark);
        }
        if let Some(mark) = reached {
            self.done(mark.finished);
            for later in &mut self.marks {
                later.finished -= mark.finished;
            }
            // Of a part that is not whole, the place stays that was noted before the fault.
            let current = &mut self.state.progress.current;
            match mark.current {
                Some((part, _)) if self.faulty.contains(&part) => {
                    *current = current.take().filter(|(noted, _)| *noted == part);
                }
                reached => *current = reached,
            }
        }
        let now_us = self.clock.now_us();
        if now_us - self.saved_us >= SAVE_US {
            self.saved_us = now_us;
            self.state.save()?;
        }
        Ok(())
    }
}
