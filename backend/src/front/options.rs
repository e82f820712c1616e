//! Arguments of `gpuferryd`, by the conventions of QEMU's `docs/interop/vhost-user.rst`, § Backend program conventions.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::device::MAX_SESSIONS;

use crate::ledger::Limits;
use crate::sandbox::{self, Mode};
use crate::worker::{AnyDevice, Devices, OpenClDevice};

/// What `--help` prints.
pub const HELP: &str = "\
gpuferryd - lends a GPU to virtual machines (vhost-user) and to local programs

usage: gpuferryd (--socket-path PATH | --fd NUMBER) [--local-path PATH] [OPTION]...

  --socket-path PATH   Unix socket to make, for the VMM's vhost-user device
  --fd NUMBER          listening Unix socket inherited under this number, instead of --socket-path
  --local-path PATH    Unix socket to make, for programs of this host (GPUFERRY=unix:PATH)
  --control-path PATH  Unix socket to make, for gpuferryctl: what each session has done and holds
  --device DEVICE      for CUDA: cpu, cuda:NUMBER or cuda:UUID (default cpu); several for one guest, which reach each other's memory
                       where the host's do: cuda:0,cuda:1 or cuda:0,1 or the option again; all of the host: cuda:all
                       for OpenCL, beside it: opencl:PLATFORM/DEVICE, each a number or a part of the name; /DEVICE or both may
                       be left out for all devices or the first platform (default: OpenCL is not served)
  --library FILE       CUDA's driver library, instead of the usual one
  --opencl-library FILE  an OpenCL loader, instead of the usual libOpenCL.so.1
  --worker FILE        the worker's program (default: gpuferry-worker beside this program)
  --max-sessions N     sessions at a time, 1 to 256, all carriers together (default 64)
  --memory-limit SIZE  device memory of a VM, all its processes and devices together (and of all local programs): bytes, or with K, M, G, T
  --process-memory-limit SIZE  device memory of each process
  --call-timeout SECONDS     longest that a call may take, waiting for a kernel too; then its worker ends (default: none)
  --compile-timeout SECONDS  longest that compiling one module may take (default 300, 0 for none)
  --prestart N         workers kept started for the next sessions, 0 to 16 (default 1)
  --compile-cache SIZE the driver keeps what it compiled for a VM (and for local programs) in so much memory (default: not at all)
  --prestart-contexts  these also have a context on each device, so that programs start 0.1 s sooner: about 518 MiB of each GPU's memory each
  --allow-pageable-access  serve although the GPU reaches ordinary memory of processes (HMM, ATS)
  --user USER          what to become where started as root: name, UID or UID:GID (default 65534:65534)
  --require-sandbox    do not start where a layer of the sandbox is missing
  --no-sandbox         run without, for debuggers and sanitizers
  --without LAYER      leave a layer out: namespaces, network, root, user, landlock or calls; may be repeated
  --sandbox-debug      a forbidden system call says its number before its process ends
  --allow-call NUMBER  allow workers one more system call; may be repeated
  --log-level LEVEL    off, error, warn, info, debug or trace (default info)
  --print-capabilities print what the device is, as JSON, and exit
  --help, --version    print this, or the version, and exit

Sockets are accessible to their owner only. The guest's memory must be shared, for QEMU:
  -object memory-backend-memfd,id=mem,size=4G,share=on -machine q35,memory-backend=mem
  -chardev socket,id=gpuferry,path=PATH
  -device vhost-user-test-device-pci,chardev=gpuferry,virtio-id=38,num_vqs=3,vq_size=256,config_size=64
";

/// What `--print-capabilities` prints.
pub const CAPABILITIES: &str = "{\n  \"type\": \"gpuferry\"\n}\n";

impl VhostSocket {
    /// The path, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            VhostSocket::Path(path) => Some(path),
            VhostSocket::Descriptor(_) => None,
        }
    }
}

/// Most workers kept started.
const MAX_PRESTART: usize = 16;

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Serve(Box<Options>),
    /// Print a text and exit.
    Print(String),
}

/// Where the VMM connects.
#[derive(Debug, PartialEq, Eq)]
pub enum VhostSocket {
    /// A socket to make.
    Path(PathBuf),
    /// A listening socket that this process has.
    Descriptor(i32),
}

/// How to serve.
#[derive(Debug)]
pub struct Options {
    /// Where the VMM connects, if one shall.
    pub vhost: Option<VhostSocket>,
    /// Where local programs connect, if they shall.
    pub local: Option<PathBuf>,
    /// Where `gpuferryctl` connects, if it shall.
    pub control: Option<PathBuf>,
    /// The devices for CUDA.
    pub devices: Devices,
    /// CUDA's library.
    pub library: Option<PathBuf>,
    /// The devices for OpenCL, if it is served.
    pub opencl: Option<OpenClDevice>,
    /// OpenCL's library.
    pub opencl_library: Option<PathBuf>,
    /// The worker's program.
    pub worker: Option<PathBuf>,
    /// Sessions at a time.
    pub max_sessions: u32,
    /// Workers kept started.
    pub prestart: usize,
    /// Device memory of a guest and of a process.
    pub memory: Limits,
    /// Longest that a call may take.
    pub call_timeout: Option<Duration>,
    /// Longest that a compilation may take.
    pub compile_timeout: Option<Duration>,
    /// Workers kept started have a context.
    pub prepare_contexts: bool,
    /// Bytes of a guest's cache of compiled code.
    pub compile_cache: Option<u64>,
    /// Serve although the GPU reaches ordinary memory.
    pub allow_pageable: bool,
    /// What processes give up.
    pub sandbox: sandbox::Settings,
    /// What is logged.
    pub level: log::LevelFilter,
}

/// Reads the arguments, the program's name first.
/// # Errors
/// Text for the user.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut options = Options {
        vhost: None,
        local: None,
        control: None,
        devices: Devices::default(),
        library: None,
        opencl: None,
        opencl_library: None,
        worker: None,
        max_sessions: 64,
        prestart: 1,
        memory: Limits::default(),
        call_timeout: None,
        compile_timeout: Some(Duration::from_secs(300)),
        allow_pageable: false,
        prepare_contexts: false,
        compile_cache: None,
        sandbox: sandbox::Settings::default(),
        level: log::LevelFilter::Info,
    };
    let mut devices = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("socket-path") => {
                set_vhost(&mut options, VhostSocket::Path(PathBuf::from(parser.value()?)))?;
            }
            Long("fd") => set_vhost(&mut options, VhostSocket::Descriptor(parser.value()?.parse()?))?,
            Long("local-path") => options.local = Some(PathBuf::from(parser.value()?)),
            Long("control-path") => options.control = Some(PathBuf::from(parser.value()?)),
            Long("device") => match parser.value()?.parse()? {
                AnyDevice::Cuda(named) => {
                    devices = Some(named.behind(devices.take()).map_err(|clash| clash.to_string())?)
                }
                AnyDevice::OpenCl(device) => options.opencl = Some(device),
            },
            Long("opencl-library") => options.opencl_library = Some(PathBuf::from(parser.value()?)),
            Long("library") => options.library = Some(PathBuf::from(parser.value()?)),
            Long("worker") => options.worker = Some(PathBuf::from(parser.value()?)),
            Long("max-sessions") => options.max_sessions = parser.value()?.parse()?,
            Long("prestart") => options.prestart = parser.value()?.parse()?,
            Long("memory-limit") => options.memory.guest = Some(size(&parser.value()?.string()?)?),
            Long("process-memory-limit") => options.memory.process = Some(size(&parser.value()?.string()?)?),
            Long("call-timeout") => options.call_timeout = seconds(&parser.value()?.string()?)?,
            Long("compile-timeout") => options.compile_timeout = seconds(&parser.value()?.string()?)?,
            Long("prestart-contexts") => options.prepare_contexts = true,
            Long("compile-cache") => options.compile_cache = Some(size(&parser.value()?.string()?)?),
            Long("allow-pageable-access") => options.allow_pageable = true,
            Long("user") => options.sandbox.user = Some(parser.value()?.parse()?),
            Long("require-sandbox") => set_mode(&mut options, Mode::Require)?,
            Long("no-sandbox") => set_mode(&mut options, Mode::Off)?,
            Long("without") => options.sandbox.without.push(parser.value()?.parse()?),
            Long("sandbox-debug") => options.sandbox.says_calls = true,
            Long("allow-call") => options.sandbox.more_calls.push(parser.value()?.parse()?),
            Long("log-level") => options.level = parser.value()?.parse()?,
            Long("print-capabilities") => return Ok(Command::Print(CAPABILITIES.into())),
            Long("help") | Short('h') => return Ok(Command::Print(HELP.into())),
            Long("version") | Short('V') => {
                return Ok(Command::Print(format!("gpuferryd {}\n", env!("CARGO_PKG_VERSION"))));
            }
            other => return Err(other.unexpected()),
        }
    }
    options.devices = devices.unwrap_or_default();
    check(&options)?;
    Ok(Command::Serve(Box::new(options)))
}

fn set_vhost(options: &mut Options, socket: VhostSocket) -> Result<(), lexopt::Error> {
    match options.vhost.replace(socket) {
        None => Ok(()),
        Some(_) => Err("give one of --socket-path and --fd, once".into()),
    }
}

/// A number of bytes, also in binary thousands.
fn size(text: &str) -> Result<u64, lexopt::Error> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, letter)) if !letter.is_ascii_digit() => {
            let place = "KMGT".find(letter.to_ascii_uppercase());
            let place = place.ok_or("a size is a number of bytes, or one with K, M, G or T")?;
            (text.get(..at).unwrap_or_default(), 10 * (place + 1))
        }
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "a size is a number of bytes, or one with K, M, G or T")?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes != 0).ok_or_else(|| "a size that cannot be".into())
}

/// A time; 0 is none.
fn seconds(text: &str) -> Result<Option<Duration>, lexopt::Error> {
    let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = time.filter(|time| time.is_zero() || (1..=86_400_000).contains(&time.as_millis()));
    let time = time.ok_or("a time is a number of seconds, from 0.001 to a day, or 0 for none")?;
    Ok((!time.is_zero()).then_some(time))
}

fn set_mode(options: &mut Options, mode: Mode) -> Result<(), lexopt::Error> {
    match std::mem::replace(&mut options.sandbox.mode, mode) {
        Mode::Try => Ok(()),
        _ => Err("give one of --require-sandbox and --no-sandbox, once".into()),
    }
}

fn check(options: &Options) -> Result<(), lexopt::Error> {
    if options.vhost.is_none() && options.local.is_none() {
        return Err(
            "nothing to serve: give --socket-path or --fd (for a VMM) or --local-path (for local programs)".into()
        );
    }
    if !(1..=MAX_SESSIONS).contains(&options.max_sessions) {
        return Err(format!("--max-sessions must be 1 to {MAX_SESSIONS}").into());
    }
    if options.prestart > MAX_PRESTART {
        return Err(format!("--prestart must be 0 to {MAX_PRESTART}").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Command, lexopt::Error> {
        parse(std::iter::once("gpuferryd").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn options(arguments: &[&str]) -> Box<Options> {
        match read(arguments) {
            Ok(Command::Serve(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_when_in_qemus_forms_then_are_read() {
        let read = options(&[
            "--socket-path=/run/a",
            "--local-path",
            "/run/b",
            "--device",
            "cuda:1",
            "--prestart=2",
            "--control-path=c",
        ]);
        assert_eq!(read.control, Some("c".into()));
        assert_eq!(read.vhost, Some(VhostSocket::Path("/run/a".into())));
        assert_eq!((read.local, read.devices.to_string(), read.prestart), (Some("/run/b".into()), "cuda:1".into(), 2));
        assert_eq!(options(&["--fd=3"]).vhost, Some(VhostSocket::Descriptor(3)));
        let both = options(&["--fd=3", "--device", "cuda:1", "--device", "opencl:pocl/0", "--device", "cuda:0,2"]);
        assert_eq!(
            (both.devices.to_string(), both.opencl.map(|it| it.to_string())),
            ("cuda:1,cuda:0,cuda:2".into(), Some("opencl:pocl/0".into()))
        );
        assert_eq!(options(&["--fd=3"]).devices, Devices::Cpu(1));
    }

    #[test]
    fn size_when_it_has_a_letter_then_is_in_binary_thousands() {
        let memory = options(&["--fd=3", "--memory-limit", "3G", "--process-memory-limit", "1536"]).memory;
        assert_eq!((memory.guest, memory.process), (Some(3 << 30), Some(1536)));
    }

    #[test]
    fn arguments_when_they_cannot_be_served_then_are_refused() {
        let bad: [&[&str]; 20] = [
            &["--fd", "3", "--call-timeout", "-1"],
            &["--fd", "3", "--call-timeout", "NaN"],
            &["--fd", "3", "--compile-timeout", "1e9"],
            &["--fd", "3", "--memory-limit", "0"],
            &["--fd", "3", "--memory-limit", "1X"],
            &["--fd", "3", "--memory-limit", "G"],
            &["--fd", "3", "--memory-limit", "99999999T"],
            &["--fd", "3", "--require-sandbox", "--no-sandbox"],
            &["--fd", "3", "--user", "root"],
            &["--fd", "3", "--allow-call", "execve"],
            &[],
            &["--device", "gpu", "--fd", "3"],
            &["--device", "cpu", "--device", "cuda:0", "--fd", "3"],
            &["--device", "cuda:0", "--device", "cuda:0", "--fd", "3"],
            &["--fd", "3", "--socket-path", "x"],
            &["--fd", "x"],
            &["--fd", "3", "--max-sessions", "0"],
            &["--fd", "3", "--max-sessions", "257"],
            &["--fd", "3", "--prestart", "17"],
            &["--fd", "3", "more"],
        ];
        for arguments in bad {
            assert!(read(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn print_capabilities_when_asked_then_wins_and_is_json() {
        match read(&["--print-capabilities", "--fd", "3"]) {
            Ok(Command::Print(text)) => assert_eq!(text, "{\n  \"type\": \"gpuferry\"\n}\n"),
            other => panic!("{other:?}"),
        }
    }
}
