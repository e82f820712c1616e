//! Calls, launches, and waits.

use programs::driver::Handle;
use programs::{call, must};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock::Moment;
use crate::lab::{FEWEST, Lab};

/// `CUDA_ERROR_NOT_READY`.
const NOT_READY: i32 = 600;
/// Steps of the kernel `busy`: some milliseconds on a GPU.
const BUSY_ROUNDS: u32 = 2_000_000;
/// Steps of it, for waits of about 0.1, 0.7 and 3 ms on an H200.
const WAITS: [(&str, u32); 3] = [("short", 50_000), ("middle", 350_000), ("long", 1_500_000)];
/// What ends a thread that is woken again and again.
const LAST: u32 = u32::MAX;
/// A pause after which nobody spins any more.
const PAUSE: Duration = Duration::from_millis(5);

impl Lab<'_> {
    fn query(&self) -> Result<(), String> {
        match call!(self.cuda, cuStreamQuery(self.stream)) {
            0 | NOT_READY => Ok(()),
            status => Err(self.cuda.name_of(status)),
        }
    }

    /// Calls that leave the stream idle.
    pub fn calls(&mut self) -> Result<(), String> {
        let local = |lab: &Lab<'_>| {
            let mut device = 0;
            must!(lab.cuda, cuCtxGetDevice(&mut device))
        };
        self.batched("local_call_us", local, |_| Ok(()))?;
        self.single("waited_call", |lab| {
            let mut flags = 0;
            must!(lab.cuda, cuStreamGetFlags(lab.stream, &mut flags))
        })?;
        self.single("memory_info", |lab| {
            let (mut free, mut total) = (0, 0);
            must!(lab.cuda, cuMemGetInfo_v2(&mut free, &mut total))
        })?;
        self.batched("stream_query_done_us", Self::query, |_| Ok(()))?;
        self.single("synchronise_idle", Self::synchronise)?;
        self.single("synchronise_context_idle", |lab| must!(lab.cuda, cuCtxSynchronize()))?;
        self.events()
    }

    fn events(&mut self) -> Result<(), String> {
        let mut event = 0;
        must!(self.cuda, cuEventCreate(&mut event, 2))?;
        self.batched("event_record_us", |lab| must!(lab.cuda, cuEventRecord(event, lab.stream)), Self::synchronise)?;
        must!(self.cuda, cuEventSynchronize(event))?;
        self.batched("event_query_done_us", |lab| must!(lab.cuda, cuEventQuery(event)), |_| Ok(()))?;
        self.single("record_and_query_until_done", |lab| {
            must!(lab.cuda, cuEventRecord(event, lab.stream))?;
            loop {
                match call!(lab.cuda, cuEventQuery(event)) {
                    0 => return Ok(()),
                    NOT_READY => {}
                    status => return Err(lab.cuda.name_of(status)),
                }
            }
        })?;
        self.query_pending()?;
        must!(self.cuda, cuEventDestroy_v2(event))
    }

    /// Queries of a stream that is busy all the time.
    fn query_pending(&mut self) -> Result<(), String> {
        let (busy, mut times) = (self.busy_kernel()?, Vec::new());
        let end = Moment::now().after(self.each);
        while Moment::now() < end || times.is_empty() {
            self.launch_busy(busy, BUSY_ROUNDS)?;
            for _ in 0..200 {
                let begin = Moment::now();
                let status = call!(self.cuda, cuStreamQuery(self.stream));
                if status != NOT_READY {
                    break;
                }
                times.push(begin.micros());
            }
            self.synchronise()?;
        }
        if !times.is_empty() {
            self.quantiles("stream_query_pending", times);
        }
        Ok(())
    }

    fn busy_kernel(&self) -> Result<Handle, String> {
        let mut busy = 0;
        must!(self.cuda, cuModuleGetFunction(&mut busy, self.module, c"busy".as_ptr()))?;
        Ok(busy)
    }

    fn launch_busy(&self, busy: Handle, mut rounds: u32) -> Result<(), String> {
        let mut out = self.memory;
        let mut parameters = [(&raw mut out).cast::<c_void>(), (&raw mut rounds).cast::<c_void>()];
        let none = std::ptr::null_mut();
        must!(self.cuda, cuLaunchKernel(busy, 1, 1, 1, 1, 1, 1, 0, self.stream, parameters.as_mut_ptr(), none))
    }

    /// Waits in which somebody may sleep: a call after a pause, and kernels that take their time.
    pub fn waits(&mut self) -> Result<(), String> {
        self.wake_after_pause()?;
        self.after_pauses("waited_call_after_pause", |lab| {
            let mut flags = 0;
            must!(lab.cuda, cuStreamGetFlags(lab.stream, &mut flags))
        })?;
        self.after_pauses("launch_after_pause", Self::launch)?;
        let busy = self.busy_kernel()?;
        for (name, rounds) in WAITS {
            self.single(&format!("{name}_kernel_and_synchronise"), |lab| {
                lab.launch_busy(busy, rounds)?;
                lab.synchronise()
            })?;
        }
        Ok(())
    }

    /// What a wake-up takes on this machine, whatever it is for: of a thread of this program that sleeps, until it runs.
    fn wake_after_pause(&mut self) -> Result<(), String> {
        let (asked, seen) = (&AtomicU32::new(0), &AtomicU32::new(0));
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(move || {
                while seen.load(Ordering::Relaxed) != LAST {
                    std::thread::park();
                    seen.store(asked.load(Ordering::Acquire), Ordering::Release);
                }
            });
            let wake = |number: u32| {
                asked.store(number, Ordering::Release);
                sleeper.thread().unpark();
                while seen.load(Ordering::Acquire) != number {
                    std::hint::spin_loop();
                }
            };
            let result = self.after_pauses("thread_wake_after_pause", |_| {
                wake(asked.load(Ordering::Relaxed) + 1);
                Ok(())
            });
            wake(LAST);
            result
        })
    }

    /// p50 and p99 of single calls, with a pause before each.
    fn after_pauses(&mut self, name: &str, call: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        let mut times = Vec::new();
        let end = Moment::now().after(self.each);
        while Moment::now() < end || times.len() < FEWEST {
            self.synchronise()?;
            std::thread::sleep(PAUSE);
            let begin = Moment::now();
            call(self)?;
            times.push(begin.micros());
        }
        self.quantiles(name, times);
        Ok(())
    }

    /// Launches of a kernel that does nothing.
    pub fn launches(&mut self) -> Result<(), String> {
        self.batched("launch_issue_us", Self::launch, Self::synchronise)?;
        self.rate("launches_per_s", Self::launch)?;
        self.single("launch_and_synchronise", |lab| {
            lab.launch()?;
            lab.synchronise()
        })
    }
}
