//! `gpuferryd`: the front. It owns the sockets, the queues and the table of sessions, opens no GPU library, and never restarts:
//! everything that can crash or be replaced is in workers.
//!
//! [`main`] reads the [`options`], makes the process that starts workers ([`starter`]) and the [`sockets`], gives its rights
//! up ([`crate::sandbox`]), and then has one thread for each carrier: [`device`] for a VMM (its [`queues`](self) carry
//! [`request`]s that [`sessions`](self) serve), [`local`] for programs of this host. Both take workers from the [`nursery`];
//! [`control`] tells of them. SIGTERM and SIGINT end it, and workers end with it; SIGHUP lets the next sessions have workers
//! of a program that was replaced.

pub mod chain;
pub mod control;
pub mod device;
mod events;
#[cfg(test)]
mod flip;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod local;
pub mod log;
pub mod nursery;
pub mod options;
pub mod process;
mod queues;
mod ram;
mod relay;
pub mod request;
pub mod room;
pub mod roster;
mod session;
mod sessions;
pub mod sockets;
pub mod starter;
mod watch;
pub mod worker_log;

use std::ffi::OsString;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ::log::{debug, error, info, warn};
use vhost::vhost_user::{Error as VhostError, Listener};
use vhost_user_backend::{Error as DaemonError, VhostUserDaemon};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use self::device::Device;
use self::nursery::{Nursery, Pool, Serving};
use self::options::{Command, Options, VhostSocket};
use self::process::Program;
use self::roster::Roster;
use self::starter::Starter;
use crate::ledger::{Ledger, Limits};
use crate::os;
use crate::sandbox::files::Places;
use crate::sandbox::{self, Layers, Mode, Profile, User, namespaces};

/// Where the VM's workers are, and those of programs of this host.
const VM_ROOM: u32 = 1;
const LOCAL_ROOM: u32 = 2;

/// Any error that ends the front at its start.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// The front's program.
#[must_use]
pub fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os()) {
        Ok(Command::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Serve(options)) => options,
        Err(error) => {
            eprintln!("gpuferryd: {error} (see gpuferryd --help)");
            return ExitCode::from(2);
        }
    };
    log::start("gpuferryd", options.level);
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT.
fn serve(options: &Options) -> Result<(), Fatal> {
    os::private_files();
    os::raise_file_limit();
    // Before any thread starts, so that all inherit it.
    os::block_termination()?;
    let (layers, missing) = sandbox::survey(&options.sandbox);
    missing.iter().for_each(|layer| warn!("{layer}"));
    if options.sandbox.mode == Mode::Require && !missing.is_empty() {
        return Err(format!("--require-sandbox: {} layers of the sandbox are missing, see above", missing.len()).into());
    }
    let program = program(options, &layers)?;
    let starter = Arc::new(Starter::fork(options, program.clone(), &layers)?);
    let mut bound = 0;
    let result = bind(options, &mut bound).and_then(|sockets| {
        leave(options, &layers)?;
        start(options, sockets, &starter, &program)
    });
    if let Ok(nurseries) = &result {
        while !os::wait_for_signal() {
            nurseries.iter().for_each(|nursery| nursery.renew());
        }
        info!("ends");
    }
    starter.remove(bound);
    result.map(drop)
}

/// The listening sockets: of both carriers, and for questions.
struct Sockets {
    vhost: Option<UnixListener>,
    local: Option<UnixListener>,
    control: Option<UnixListener>,
}

/// Makes the sockets; `bound` learns whose files are to be removed.
fn bind(options: &Options, bound: &mut u8) -> Result<Sockets, Fatal> {
    let vhost = match &options.vhost {
        None => None,
        Some(VhostSocket::Path(path)) => {
            let listener = sockets::bind(path)?;
            *bound |= starter::VHOST_SOCKET;
            Some(listener)
        }
        Some(VhostSocket::Descriptor(fd)) => Some(adopt(*fd)?),
    };
    let mut make = |path: &Option<PathBuf>, name| -> Result<Option<UnixListener>, Fatal> {
        let Some(path) = path else { return Ok(None) };
        let listener = sockets::bind(path)?;
        *bound |= name;
        Ok(Some(listener))
    };
    let local = make(&options.local, starter::LOCAL_SOCKET)?;
    let control = make(&options.control, starter::CONTROL_SOCKET)?;
    Ok(Sockets { vhost, local, control })
}

/// Gives up what the front does not need: nearly all.
fn leave(options: &Options, layers: &Layers) -> Result<(), Fatal> {
    if options.sandbox.mode != Mode::Off {
        namespaces::leave(layers.namespaces)?;
        sandbox::enter(Profile::Front, &options.sandbox, layers, &Places::default())?;
    }
    Ok(())
}

/// Starts serving, each carrier with workers of its own: programs of this host are not the guest, whose room its workers share.
fn start(
    options: &Options,
    sockets: Sockets,
    starter: &Arc<Starter>,
    program: &Program,
) -> Result<Vec<Arc<Nursery>>, Fatal> {
    let serving = Serving::new(options.max_sessions);
    let nursery = |room| {
        let pool = Pool { starter: Arc::clone(starter), room, program: program.clone(), prestart: options.prestart };
        Nursery::new(pool, serving.clone()).map(Arc::new)
    };
    let vhost = sockets.vhost.map(|listener| nursery(VM_ROOM).map(|nursery| (listener, nursery))).transpose()?;
    let local = sockets.local.map(|listener| nursery(LOCAL_ROOM).map(|nursery| (listener, nursery))).transpose()?;
    let devices = match &options.opencl {
        None => options.devices.to_string(),
        Some(opencl) => format!("{} and {opencl}", options.devices),
    };
    let is_one = options.opencl.is_none() && options.devices.count() == Some(1);
    info!("ready on device{} {devices}", if is_one { "" } else { "s" });
    let roster = Roster::new(devices);
    let limits = options.memory;
    let mut nurseries = Vec::new();
    if let Some(listener) = sockets.control {
        let roster = Arc::clone(&roster);
        std::thread::Builder::new().name("control".into()).spawn(move || control::serve(&listener, &roster))?;
    }
    if let Some((listener, nursery)) = vhost {
        nurseries.push(Arc::clone(&nursery));
        let roster = Arc::clone(&roster);
        let serve = move || serve_vmm(listener, &nursery, &roster, limits);
        std::thread::Builder::new().name("vhost".into()).spawn(serve)?;
    }
    if let Some((listener, nursery)) = local {
        nurseries.push(Arc::clone(&nursery));
        let ledger = Arc::new(Ledger::new(limits)?);
        let serve = move || local::serve(&listener, &nursery, &ledger, &roster);
        std::thread::Builder::new().name("local-accept".into()).spawn(serve)?;
    }
    Ok(nurseries)
}

fn adopt(fd: i32) -> Result<UnixListener, sockets::SocketError> {
    if fd < 3 || !os::listens(fd) {
        return Err(sockets::SocketError::NotListening(fd));
    }
    // SAFETY: the user names it as handed over to this process, and nothing of ours is open under a number that was.
    Ok(UnixListener::from(unsafe { os::adopt(fd) }))
}

/// How workers are started: the program beside this one, and the options that are theirs.
fn program(options: &Options, layers: &Layers) -> Result<Program, Fatal> {
    let file = match &options.worker {
        // The worker starts in another folder.
        Some(file) => std::path::absolute(file)?,
        None => {
            let own: PathBuf = std::env::current_exe()?;
            own.with_file_name("gpuferry-worker")
        }
    };
    let mut arguments: Vec<OsString> =
        vec!["--device".into(), options.devices.to_string().into(), "--log-level".into()];
    arguments.push(options.level.as_str().to_ascii_lowercase().into());
    if let Some(library) = &options.library {
        arguments.extend(["--library".into(), std::path::absolute(library)?.into()]);
    }
    if options.sandbox.mode != Mode::Off {
        let user = options.sandbox.user.unwrap_or(User::NOBODY);
        arguments.extend(["--layers".into(), layers.to_word().into(), "--user".into(), user.to_string().into()]);
        for call in &options.sandbox.more_calls {
            arguments.extend(["--allow-call".into(), call.to_string().into()]);
        }
        if options.sandbox.says_calls {
            arguments.push("--sandbox-debug".into());
        }
    }
    for (name, time) in [("--call-timeout", options.call_timeout), ("--compile-timeout", options.compile_timeout)] {
        if let Some(time) = time {
            arguments.extend([name.into(), time.as_millis().to_string().into()]);
        }
    }
    if options.prepare_contexts {
        arguments.push("--prepare-context".into());
    }
    if options.allow_pageable {
        arguments.push("--allow-pageable-access".into());
    }
    if let Some(opencl) = &options.opencl {
        arguments.extend(["--device".into(), opencl.to_string().into()]);
    }
    if let Some(library) = &options.opencl_library {
        arguments.extend(["--opencl-library".into(), std::path::absolute(library)?.into()]);
    }
    if options.compile_cache.is_some() && options.sandbox.mode != Mode::Off {
        // The driver's cache has folders, which Landlock lets it make in one place.
        for call in [libc::SYS_mkdir, libc::SYS_rmdir] {
            arguments.extend(["--allow-call".into(), call.to_string().into()]);
        }
    }
    let (starts_programs, compile_cache) = (options.opencl.is_some(), options.compile_cache);
    Ok(Program { file, arguments, starts_programs, compile_cache })
}

/// Serves one VMM after the other.
fn serve_vmm(listener: UnixListener, nursery: &Arc<Nursery>, roster: &Roster, limits: Limits) {
    let mut listener = Listener::from(listener);
    loop {
        if let Err(error) = serve_one_vmm(&mut listener, nursery, roster, limits) {
            error!("vhost-user: {error}");
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    }
}

/// Waits for a VMM and serves it until it is gone. A daemon object serves one connection.
fn serve_one_vmm(
    listener: &mut Listener,
    nursery: &Arc<Nursery>,
    roster: &Roster,
    limits: Limits,
) -> Result<(), Fatal> {
    let device = Arc::new(Device::new(Arc::clone(nursery), Arc::new(Ledger::new(limits)?))?);
    roster.list_device(&device);
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let fail = |error: DaemonError| error.to_string();
    let mut daemon = VhostUserDaemon::new("vhost-messages".into(), Arc::clone(&device), memory).map_err(fail)?;
    for handler in daemon.get_epoll_handlers() {
        device.watch_workers(&handler)?;
    }
    daemon.start(listener).map_err(fail)?;
    debug!("a VMM connects");
    let result = daemon.wait();
    device.end();
    if device.has_talked() {
        // The next VM is another guest.
        nursery.leave();
    }
    drop(daemon);
    if let Some(fd) = device.exit_descriptor() {
        // SAFETY: the daemon was given it, has ended, and never closes it.
        drop(unsafe { os::adopt(fd) });
    }
    match result {
        _ if !device.has_talked() => debug!("the connection was no VMM's"),
        Ok(())
        | Err(DaemonError::HandleRequest(
            VhostError::Disconnected | VhostError::PartialMessage | VhostError::SocketBroken(_),
        )) => info!("the VMM has disconnected; waiting for the next"),
        Err(DaemonError::HandleRequest(VhostError::InvalidParam)) => error!(
            "the VMM's settings do not fit the device, so the connection is closed: it has {} queues of at most 32768 \
             entries, and guest memory must be shared (num_vqs=3, memory-backend-memfd,share=on)",
            wire::device::QUEUE_COUNT
        ),
        Err(error) => error!("the VMM broke the vhost-user protocol, so the connection is closed: {error}"),
    }
    Ok(())
}
