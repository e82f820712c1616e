//! How many instructions of the program's own a call takes, which noise does not touch: `instructions`, one JSON object.
//!
//! The program starts itself once more and steps through that one's calls, instruction by instruction (ptrace(2)), from one call of
//! `marker` to the next. What the steps between two markers with nothing in between take is subtracted. Of each call the median
//! of some rounds counts. Stepping is so slow that the worker always sleeps: the doorbell, about 85 instructions, is in each posted
//! call.

use std::process::ExitCode;

use programs::fail;

const NAME: &str = "instructions";

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    let counted = match std::env::args().nth(1).as_deref() {
        None => stepping::run(),
        Some("--traced") => stepping::traced(),
        Some(_) => fail(NAME, 2, "usage: instructions"),
    };
    if let Err(message) = counted {
        fail(NAME, 3, &message);
    }
    ExitCode::SUCCESS
}

#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    fail(NAME, 2, "steps through programs of x86-64 alone")
}

#[cfg(target_arch = "x86_64")]
mod stepping {
    use std::ffi::{CString, c_void};
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use programs::driver::{Driver, Handle};
    use programs::must;

    const KERNELS: &str = concat!(include_str!("../../kernels/battery.ptx"), "\0");
    /// Rounds of each call.
    const ROUNDS: usize = 9;
    /// What is counted, in this order; the first is the measure of the measuring.
    const CALLS: [&str; 6] =
        ["nothing", "local_call", "launch", "launch_2_parameters", "event_record", "copy_64_b_to_device"];
    /// Most steps of all: a call that waits without end is none that can be counted.
    const MOST_STEPS: usize = 20_000_000;
    /// Where `rip` lies in `user_regs_struct`.
    const RIP: usize = 16 * 8;

    /// What the stepping process looks for.
    #[inline(never)]
    extern "C" fn marker() {
        std::hint::black_box(());
    }

    fn ptrace(request: libc::c_uint, process: libc::pid_t, address: usize) -> libc::c_long {
        // SAFETY: requests without memory of ours.
        unsafe { libc::ptrace(request, process, address, 0usize) }
    }

    /// The signal with which a process stops next; `None` where it ended.
    fn stopped(process: libc::pid_t) -> Option<i32> {
        let mut status = 0;
        // SAFETY: the status is a live variable.
        let waited = unsafe { libc::waitpid(process, &raw mut status, 0) };
        (waited == process && libc::WIFSTOPPED(status)).then(|| libc::WSTOPSIG(status))
    }

    /// Steps through the other process and prints what it counted.
    pub fn run() -> Result<(), String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child =
            Command::new(program).arg("--traced").stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no pipe")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let counted = line
            .trim()
            .parse()
            .map_err(|_| "the counted program did not come as far as its first call".to_owned())
            .and_then(|marker| count(child.id() as libc::pid_t, marker));
        // It waits to be killed.
        let _ = child.kill();
        let _ = child.wait();
        print(&counted?);
        Ok(())
    }

    /// Instructions between each marker and the next.
    fn count(process: libc::pid_t, marker: u64) -> Result<Vec<usize>, String> {
        if stopped(process) != Some(libc::SIGSTOP) {
            return Err("the counted program cannot be traced".to_owned());
        }
        let (mut spans, mut since) = (Vec::new(), None::<usize>);
        for step in 0..MOST_STEPS {
            if ptrace(libc::PTRACE_SINGLESTEP, process, 0) != 0 {
                return Err("the counted program cannot be stepped".to_owned());
            }
            match stopped(process) {
                Some(libc::SIGTRAP) => {}
                Some(libc::SIGUSR1) => return Ok(spans),
                other => return Err(format!("the counted program stopped with {other:?}")),
            }
            if ptrace(libc::PTRACE_PEEKUSER, process, RIP) as u64 == marker {
                spans.extend(since.map(|since| step - since));
                since = Some(step);
            }
        }
        Err("too many steps".to_owned())
    }

    fn print(spans: &[usize]) {
        // Each round of a call is the span before it, of no interest, and its own.
        let of = |call: usize| {
            let first = call * ROUNDS * 2;
            let end = (first + ROUNDS * 2).min(spans.len());
            let mut own: Vec<_> = spans.get(first..end).unwrap_or_default().iter().copied().step_by(2).collect();
            own.sort_unstable();
            own.get(own.len() / 2).copied().unwrap_or(0)
        };
        let nothing = of(0);
        let lines = CALLS.iter().enumerate().skip(1);
        let lines: Vec<_> =
            lines.map(|(call, name)| format!("  \"{name}\": {}", of(call).saturating_sub(nothing))).collect();
        println!("{{\n{}\n}}", lines.join(",\n"));
    }

    struct Subject {
        cuda: Driver,
        nothing: Handle,
        fill: Handle,
        stream: Handle,
        event: Handle,
        memory: u64,
    }

    impl Subject {
        fn new() -> Result<Subject, String> {
            let cuda = Driver::load()?;
            let (mut device, mut context, mut module, mut nothing, mut fill) = (0, 0, 0, 0, 0);
            let (mut stream, mut event, mut memory) = (0, 0, 0);
            must!(cuda, cuInit(0))?;
            must!(cuda, cuDeviceGet(&mut device, 0))?;
            must!(cuda, cuDevicePrimaryCtxRetain(&mut context, device))?;
            must!(cuda, cuCtxSetCurrent(context))?;
            must!(cuda, cuModuleLoadData(&mut module, KERNELS.as_ptr().cast()))?;
            must!(cuda, cuModuleGetFunction(&mut nothing, module, CString::from(c"nothing").as_ptr()))?;
            must!(cuda, cuModuleGetFunction(&mut fill, module, CString::from(c"busy").as_ptr()))?;
            must!(cuda, cuStreamCreate(&mut stream, 1))?;
            must!(cuda, cuEventCreate(&mut event, 2))?;
            must!(cuda, cuMemAlloc_v2(&mut memory, 1 << 16))?;
            Ok(Subject { cuda, nothing, fill, stream, event, memory })
        }

        fn call(&self, call: usize) -> Result<(), String> {
            let none = std::ptr::null_mut::<*mut c_void>();
            match call {
                0 => Ok(()),
                1 => {
                    let mut device = 0;
                    must!(self.cuda, cuCtxGetDevice(&mut device))
                }
                2 => must!(self.cuda, cuLaunchKernel(self.nothing, 1, 1, 1, 1, 1, 1, 0, self.stream, none, none)),
                3 => {
                    let (mut out, mut rounds) = (self.memory, 1u32);
                    let mut given = [(&raw mut out).cast::<c_void>(), (&raw mut rounds).cast::<c_void>()];
                    let given = given.as_mut_ptr();
                    must!(self.cuda, cuLaunchKernel(self.fill, 1, 1, 1, 1, 1, 1, 0, self.stream, given, none))
                }
                4 => must!(self.cuda, cuEventRecord(self.event, self.stream)),
                _ => {
                    let bytes = [1u8; 64];
                    let from = bytes.as_ptr().cast::<c_void>();
                    must!(self.cuda, cuMemcpyHtoDAsync_v2(self.memory, from, 64, self.stream))
                }
            }
        }
    }

    /// Makes the calls; is stepped through.
    pub fn traced() -> Result<(), String> {
        let subject = Subject::new()?;
        // Everything that is done once has been done.
        for call in 0..CALLS.len() {
            subject.call(call)?;
        }
        must!(subject.cuda, cuStreamSynchronize(subject.stream))?;
        let mut out = std::io::stdout();
        let said = writeln!(out, "{}", marker as extern "C" fn() as usize).and_then(|()| out.flush());
        said.map_err(|error| error.to_string())?;
        ptrace(libc::PTRACE_TRACEME, 0, 0);
        // SAFETY: stops this process until the other one goes on with it.
        unsafe { libc::raise(libc::SIGSTOP) };
        for call in 0..CALLS.len() {
            for _ in 0..ROUNDS {
                marker();
                subject.call(call)?;
                marker();
            }
        }
        // SAFETY: the other process ends this one now.
        unsafe { libc::raise(libc::SIGUSR1) };
        Ok(())
    }
}
