//! Worker threads whose results come back in the order of the jobs.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::LoaderError;

type Work<J, R> = Arc<dyn Fn(J) -> R + Send + Sync>;
/// A result, or the panic in its place.
type Outcome<R> = Result<R, Box<dyn Any + Send>>;

/// Runs jobs on threads; without threads, in [`OrderedPool::next`] itself.
///
/// Dropping it drops the jobs that no thread has begun and joins the threads.
pub(super) enum OrderedPool<J, R> {
    Inline { work: Work<J, R>, queue: VecDeque<J> },
    Threads(Threads<J, R>),
}

pub(super) struct Threads<J, R> {
    jobs: Option<Sender<(usize, J)>>,
    results: Receiver<(usize, Outcome<R>)>,
    early: BTreeMap<usize, Outcome<R>>,
    submitted: usize,
    taken: usize,
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static, R: Send + 'static> OrderedPool<J, R> {
    /// At most `max_jobs` jobs may be submitted and not yet taken.
    pub(super) fn new(num_workers: usize, max_jobs: usize, work: Work<J, R>) -> Result<Self, LoaderError> {
        if num_workers == 0 {
            return Ok(Self::Inline {
                work,
                queue: VecDeque::new(),
            });
        }
        let (jobs, job_queue) = bounded::<(usize, J)>(max_jobs);
        let (result_queue, results) = bounded(max_jobs);
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Threads {
            jobs: Some(jobs),
            results,
            early: BTreeMap::new(),
            submitted: 0,
            taken: 0,
            stop,
            handles: Vec::new(),
        };
        for number in 0..num_workers {
            let (work, jobs, results) = (work.clone(), job_queue.clone(), result_queue.clone());
            let stop = threads.stop.clone();
            let run = move || {
                for (position, job) in jobs {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = catch_unwind(AssertUnwindSafe(|| work(job)));
                    if results.send((position, outcome)).is_err() {
                        return;
                    }
                }
            };
            let handle = thread::Builder::new().name(format!("loader-{number}")).spawn(run);
            threads
                .handles
                .push(handle.map_err(|source| LoaderError::Thread { source })?);
        }
        Ok(Self::Threads(threads))
    }

    /// Adds a job at the end. Blocks beyond `max_jobs`.
    pub(super) fn submit(&mut self, job: J) {
        match self {
            Self::Inline { queue, .. } => queue.push_back(job),
            Self::Threads(threads) => {
                let position = threads.submitted;
                // Fails only once the threads are gone, which only dropping brings about.
                if let Some(jobs) = &threads.jobs
                    && jobs.send((position, job)).is_ok()
                {
                    threads.submitted += 1;
                }
            }
        }
    }

    /// The result of the oldest job not yet taken, `None` if there is none.
    ///
    /// # Panics
    /// If the work panicked, with its panic.
    pub(super) fn next(&mut self) -> Option<R> {
        let outcome = match self {
            Self::Inline { work, queue } => return queue.pop_front().map(|job| work(job)),
            Self::Threads(threads) => threads.next()?,
        };
        Some(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl<J, R> Threads<J, R> {
    fn next(&mut self) -> Option<Outcome<R>> {
        if self.taken == self.submitted {
            return None;
        }
        while !self.early.contains_key(&self.taken) {
            let (position, outcome) = self.results.recv().ok()?;
            self.early.insert(position, outcome);
        }
        let outcome = self.early.remove(&self.taken);
        self.taken += 1;
        outcome
    }
}

impl<J, R> Drop for Threads<J, R> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for handle in self.handles.drain(..) {
            // A thread catches the panics of its work, so that there is nothing to pass on.
            drop(handle.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_keep_the_order_of_the_jobs() {
        for num_workers in [0, 1, 4] {
            // Later jobs are quicker.
            let work = Arc::new(|job: u64| {
                thread::sleep(Duration::from_micros(300 - job));
                job
            });
            let mut pool = OrderedPool::new(num_workers, 64, work).unwrap();
            (0..64).for_each(|job| pool.submit(job));
            assert!((0..64).all(|job| pool.next() == Some(job)));
            assert_eq!(pool.next(), None);
        }
    }

    #[test]
    fn dropping_leaves_the_rest_undone() {
        let done = Arc::new(AtomicUsize::new(0));
        let (begin, begun) = bounded(1);
        let stop: Arc<OnceLock<Arc<AtomicBool>>> = Arc::default();
        let work = {
            let (done, stop) = (done.clone(), stop.clone());
            Arc::new(move |first: bool| {
                if first {
                    begin.send(()).unwrap();
                    while !stop.get().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            })
        };
        let mut pool = OrderedPool::new(1, 100, work).unwrap();
        let OrderedPool::Threads(threads) = &pool else {
            panic!("one worker is a thread")
        };
        stop.set(threads.stop.clone()).unwrap();
        (0..100).for_each(|job| pool.submit(job == 0));
        begun.recv().unwrap();
        drop(pool);
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    #[test]
    #[should_panic(expected = "broken work")]
    fn a_panic_of_the_work_reaches_the_consumer() {
        let mut pool = OrderedPool::new(2, 4, Arc::new(|(): ()| panic!("broken work"))).unwrap();
        pool.submit(());
        pool.next();
    }
}
