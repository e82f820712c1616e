//! What is measured on, and how a figure is taken.

use std::ffi::c_void;
use std::time::Duration;

use programs::driver::{CUdeviceptr, Driver, Handle};
use programs::must;

use crate::clock::Moment;

/// Calls in a batch of those timed together; launches in flight stay well below what a driver queues.
pub const BATCH: u32 = 200;
/// Calls before the first that counts.
const WARM_UP: usize = 10;
/// Fewest calls of a figure.
pub const FEWEST: usize = 20;
/// Calls after which a figure has enough, however short they are.
const MOST: usize = 1 << 20;

/// A context with a kernel that does nothing, a stream and memory.
pub struct Lab<'a> {
    pub cuda: &'a Driver,
    pub each: Duration,
    pub module: Handle,
    pub nothing: Handle,
    pub stream: Handle,
    pub memory: CUdeviceptr,
    pub figures: Vec<String>,
}

impl Lab<'_> {
    /// Adds a figure.
    pub fn number(&mut self, name: &str, value: f64) {
        self.figures.push(format!("  \"{name}\": {value:.3}"));
    }

    /// Launches the kernel that does nothing.
    pub fn launch(&self) -> Result<(), String> {
        self.launch_in(self.stream)
    }

    /// The same, in a stream.
    pub fn launch_in(&self, stream: Handle) -> Result<(), String> {
        let none = std::ptr::null_mut::<*mut c_void>();
        must!(self.cuda, cuLaunchKernel(self.nothing, 1, 1, 1, 1, 1, 1, 0, stream, none, none))
    }

    /// Waits for the stream.
    pub fn synchronise(&self) -> Result<(), String> {
        must!(self.cuda, cuStreamSynchronize(self.stream))
    }

    /// p50 and p99 of single calls, in microseconds.
    pub fn single(&mut self, name: &str, call: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        let mut times = Vec::new();
        for _ in 0..WARM_UP {
            call(self)?;
        }
        let end = Moment::now().after(self.each);
        while (Moment::now() < end && times.len() < MOST) || times.len() < FEWEST {
            let begin = Moment::now();
            call(self)?;
            times.push(begin.micros());
        }
        self.quantiles(name, times);
        Ok(())
    }

    /// Adds p50 and p99 of times in microseconds.
    pub fn quantiles(&mut self, name: &str, mut times: Vec<f64>) {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let text = format!(
            "  \"{name}\": {{\"p50_us\": {:.3}, \"p99_us\": {:.3}, \"calls\": {}}}",
            at(0.5),
            at(0.99),
            times.len()
        );
        self.figures.push(text);
    }

    /// The mean over batches, in microseconds; `between` is not counted.
    pub fn batched(
        &mut self,
        name: &str,
        call: impl Fn(&Self) -> Result<(), String>,
        between: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let (mut spent, mut calls) = (0.0, 0);
        let end = Moment::now().after(self.each);
        while Moment::now() < end || calls == 0 {
            let begin = Moment::now();
            for _ in 0..BATCH {
                call(self)?;
            }
            spent += begin.micros();
            calls += BATCH;
            between(self)?;
        }
        self.number(name, spent / f64::from(calls));
        Ok(())
    }

    /// Operations a second: as many as go, in batches, with one `end` that waits for all.
    pub fn rate(&mut self, name: &str, call: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        let (begin, mut calls) = (Moment::now(), 0u32);
        let end = begin.after(self.each);
        while Moment::now() < end {
            for _ in 0..BATCH {
                call(self)?;
            }
            calls += BATCH;
        }
        self.synchronise()?;
        self.number(name, f64::from(calls) / begin.micros() * 1e6);
        Ok(())
    }

    /// GiB/s of `copy`, which moves `bytes` and is done when it returns: the best of several, after one that is not counted.
    pub fn bandwidth(
        &mut self,
        name: &str,
        bytes: usize,
        copy: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        copy(self)?;
        let (mut best, mut rounds) = (f64::INFINITY, 0);
        let end = Moment::now().after(self.each);
        while rounds < 3 || Moment::now() < end {
            let begin = Moment::now();
            copy(self)?;
            best = best.min(begin.micros());
            rounds += 1;
        }
        self.number(name, bytes as f64 / best * 1e6 / f64::from(1 << 30));
        Ok(())
    }
}
