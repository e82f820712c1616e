//! Two devices in one program, a line for each answer: `several [GROUP]`. Needs two devices, of which each can be the other's peer.
//!
//! As in `wide`, lines hold answers and values, no addresses and no times; each group runs in a process of its own. What two
//! real GPUs answered is in `expected/several.txt`.

mod contexts;
mod copies;
mod memory;
mod processes;
mod work;

use std::process::ExitCode;

use programs::any::Any;
use programs::{cu, fail, groups, tell};

/// PTX text of `battery.cu`, with the zero that ends it.
const KERNELS: &str = concat!(include_str!("../../../kernels/battery.ptx"), "\0");
/// Exit status where there is one device.
const TOO_FEW: i32 = 4;

/// Two devices, each with its primary context and the module of `battery.cu` in it.
pub struct Pair {
    /// The library.
    pub cuda: Any,
    /// The contexts.
    pub contexts: [u64; 2],
    /// The modules.
    pub modules: [u64; 2],
}

impl Pair {
    fn open() -> Result<Option<Pair>, String> {
        let mut pair = Pair { cuda: Any::load()?, contexts: [0; 2], modules: [0; 2] };
        let mut count = 0i32;
        let begun = [cu!(pair.cuda, cuInit(0)), cu!(pair.cuda, cuDeviceGetCount(&mut count))];
        if begun != [0; 2] {
            return Err(format!("the devices do not begin: {begun:?}"));
        }
        if count < 2 {
            return Ok(None);
        }
        for device in 0..2 {
            let (cuda, context, module) = (&pair.cuda, &mut pair.contexts[device], &mut pair.modules[device]);
            let made = [
                cu!(cuda, cuDevicePrimaryCtxRetain(&mut *context, device)),
                cu!(cuda, cuCtxSetCurrent(*context)),
                cu!(cuda, cuModuleLoadData(&mut *module, KERNELS.as_ptr())),
            ];
            if made != [0; 3] {
                return Err(format!("device {device} does not begin: {made:?}"));
            }
        }
        pair.on(0);
        Ok(Some(pair))
    }

    /// Makes a device's context current.
    pub fn on(&self, device: usize) {
        assert_eq!(cu!(self.cuda, cuCtxSetCurrent(self.contexts[device])), 0, "a context");
    }

    /// Lets both reach each other's memory; the first is current then.
    pub fn be_peers(&self) {
        for device in [1, 0] {
            self.on(device);
            let status = cu!(self.cuda, cuCtxEnablePeerAccess(self.contexts[1 - device], 0));
            assert_eq!(status, 0, "peers");
        }
    }

    /// Words of a device's memory, all with a value; its context is current then.
    pub fn words(&self, device: usize, count: usize, value: u32) -> u64 {
        let mut memory = 0u64;
        self.on(device);
        assert_eq!(cu!(self.cuda, cuMemAlloc_v2(&mut memory, count * 4)), 0, "memory");
        assert_eq!(cu!(self.cuda, cuMemsetD32_v2(memory, value, count)), 0, "memset");
        assert_eq!(cu!(self.cuda, cuCtxSynchronize()), 0, "memset, waited for");
        memory
    }

    /// Prints a sum of words that the current context's device reads.
    pub fn sum(&self, what: &str, from: u64, count: usize) {
        let mut words = vec![0u32; count];
        let status = cu!(self.cuda, cuMemcpyDtoH_v2(words.as_mut_ptr(), from, count * 4));
        if status == 0 {
            self.cuda.say(what, words.iter().fold(0u64, |sum, word| sum + u64::from(*word)));
        } else {
            self.cuda.told(what, status);
        }
    }

    /// Launches a kernel of a device's module, a thread a word, in a stream.
    pub fn launch(&self, what: &str, device: usize, name: &str, stream: u64, threads: u32, parameters: &[u64]) -> i32 {
        let mut function = 0u64;
        let text = std::ffi::CString::new(name).expect("a name");
        let found = cu!(self.cuda, cuModuleGetFunction(&mut function, self.modules[device], text.as_ptr()));
        assert_eq!(found, 0, "{name}");
        let places: Vec<*const u64> = parameters.iter().map(std::ptr::from_ref).collect();
        let (block, none) = (threads.min(256), 0u64);
        let grid = threads / block;
        tell!(self.cuda, what, cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, places.as_ptr(), none))
    }

    /// Waits for the current context.
    pub fn wait(&self) {
        tell!(self.cuda, "", cuCtxSynchronize());
    }
}

type Group = (&'static str, fn(&Pair));

const GROUPS: [Group; 19] = [
    ("devices", contexts::devices),
    ("contexts", contexts::contexts),
    ("access", contexts::access),
    ("copies", copies::run),
    ("boxes", copies::boxes),
    ("kernels", work::kernels),
    ("modules", work::modules),
    ("events", work::events),
    ("idle", work::idle),
    ("recorded", work::recorded),
    ("threads", work::threads),
    ("pointers", memory::pointers),
    ("memory of both", memory::both),
    ("host memory", memory::host),
    ("mapped memory", memory::mapped),
    ("pools", memory::pools),
    ("ipc", processes::ipc),
    ("descriptors", processes::descriptors),
    ("a fault", work::fault),
];

/// What runs in a child; false for too few devices.
fn child(arguments: &[String]) -> Result<bool, String> {
    let Some(pair) = Pair::open()? else { return Ok(false) };
    let (option, rest) = arguments.split_first().ok_or("no option")?;
    if option == processes::OPTION {
        processes::other(&pair, rest);
        return Ok(true);
    }
    let (name, group) = GROUPS.iter().find(|(name, _)| rest == [*name]).ok_or("no such group")?;
    pair.cuda.group(name);
    group(&pair);
    Ok(true)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first.starts_with("--")) {
        return match child(&arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(TOO_FEW as u8),
            Err(message) => fail("several", 3, &message),
        };
    }
    let names = GROUPS.map(|(name, _)| name);
    for name in groups::chosen("several", &names, arguments.first().map(String::as_str)) {
        match groups::run(name) {
            Ok(None | Some(0)) => {}
            Ok(Some(TOO_FEW)) => fail("several", TOO_FEW, "there are not two devices"),
            Ok(Some(_)) => return ExitCode::from(3),
            Err(message) => fail("several", 3, &message),
        }
    }
    ExitCode::SUCCESS
}
