//! Several threads of one program at once, each with a stream of its own.

use programs::driver::Handle;
use programs::must;

use crate::clock::Moment;
use crate::lab::{BATCH, Lab};

/// How many at once.
const CROWDS: [usize; 4] = [1, 2, 4, 8];
/// Launches that a thread leaves unfinished at most.
const IN_FLIGHT: u32 = 5 * BATCH;

impl Lab<'_> {
    /// Launches of all threads together a second, and what one of them costs its caller.
    pub fn threads(&mut self) -> Result<(), String> {
        let mut context = 0;
        must!(self.cuda, cuCtxGetCurrent(&mut context))?;
        for crowd in CROWDS {
            let begin = Moment::now();
            let lab = &*self;
            let times = std::thread::scope(|scope| {
                let start = |_| scope.spawn(move || lab.one_thread(context));
                let all: Vec<_> = (0..crowd).map(start).collect();
                let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|_| Err("a thread ended early".to_owned()))
                };
                all.into_iter().map(join).collect::<Result<Vec<Vec<f64>>, String>>()
            })?
            .concat();
            let rate = times.len() as f64 * f64::from(BATCH) / begin.micros() * 1e6;
            self.number(&format!("threads_{crowd}_launches_per_s"), rate);
            self.quantiles(&format!("threads_{crowd}_launch_issue"), times);
        }
        Ok(())
    }

    /// Microseconds of a launch, by batches.
    fn one_thread(&self, context: Handle) -> Result<Vec<f64>, String> {
        let (mut stream, mut times, mut flying) = (0, Vec::new(), 0);
        must!(self.cuda, cuCtxSetCurrent(context))?;
        must!(self.cuda, cuStreamCreate(&mut stream, 1))?;
        let end = Moment::now().after(self.each);
        while Moment::now() < end || times.is_empty() {
            let begin = Moment::now();
            for _ in 0..BATCH {
                self.launch_in(stream)?;
            }
            times.push(begin.micros() / f64::from(BATCH));
            flying += BATCH;
            if flying >= IN_FLIGHT {
                must!(self.cuda, cuStreamSynchronize(stream))?;
                flying = 0;
            }
        }
        must!(self.cuda, cuStreamSynchronize(stream))?;
        must!(self.cuda, cuStreamDestroy_v2(stream))?;
        Ok(times)
    }
}
