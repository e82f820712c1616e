//! Calls what `battery` does not: each area of the driver API, one line a call: `wide [GROUP]`.
//!
//! As there, lines hold answers and values, no addresses and no times. What a real GPU answered is in `expected/wide.txt`.
//! Each group runs in a process of its own: calls at which the vendor's library ends its process have groups of their own,
//! and end with a line that says so.

mod areas;
mod asides;
mod external;
mod graph_copies;
mod graphs;
mod green;
mod ipc;
mod nests;
mod older;
mod order;
mod recordings;
mod sharing;

use std::process::ExitCode;

use programs::any::Any;
use programs::{cu, fail, groups, tell};

/// PTX text of `battery.cu`, with the zero that ends it.
const KERNELS: &str = concat!(include_str!("../../../kernels/battery.ptx"), "\0");

/// What the groups work with.
pub struct Bench {
    /// The library.
    pub cuda: Any,
    /// The primary context of device 0.
    pub context: u64,
    /// The module of `battery.cu`.
    pub module: u64,
}

impl Bench {
    fn open() -> Result<Bench, String> {
        let mut bench = Bench { cuda: Any::load()?, context: 0, module: 0 };
        let cuda = &bench.cuda;
        let begun = [
            cu!(cuda, cuInit(0)),
            cu!(cuda, cuDevicePrimaryCtxRetain(&mut bench.context, 0)),
            cu!(cuda, cuCtxSetCurrent(bench.context)),
            cu!(cuda, cuModuleLoadData(&mut bench.module, KERNELS.as_ptr())),
        ];
        if begun == [0; 4] { Ok(bench) } else { Err(format!("the device does not begin: {begun:?}")) }
    }

    /// A function of the module.
    pub fn function(&self, name: &str) -> u64 {
        let mut function = 0u64;
        let text = std::ffi::CString::new(name).expect("a name");
        let status = cu!(self.cuda, cuModuleGetFunction(&mut function, self.module, text.as_ptr()));
        assert_eq!(status, 0, "{name}");
        function
    }

    /// Words of device memory, all with a value; also for streams that do not wait for the null stream.
    pub fn words(&self, count: usize, value: u32) -> u64 {
        let mut memory = 0u64;
        let status = cu!(self.cuda, cuMemAlloc_v2(&mut memory, count * 4));
        assert_eq!(status, 0, "memory");
        assert_eq!(cu!(self.cuda, cuMemsetD32_v2(memory, value, count)), 0, "memset");
        assert_eq!(cu!(self.cuda, cuCtxSynchronize()), 0, "memset");
        memory
    }

    /// Words from the device.
    pub fn read(&self, from: u64, count: usize) -> Vec<u32> {
        let mut words = vec![0u32; count];
        let status = cu!(self.cuda, cuMemcpyDtoH_v2(words.as_mut_ptr(), from, count * 4));
        if status != 0 {
            self.cuda.told("reading", status);
        }
        words
    }

    /// Prints a sum of words on the device.
    pub fn sum(&self, what: &str, from: u64, count: usize) {
        let sum = self.read(from, count).iter().fold(0u64, |sum, word| sum + u64::from(*word));
        self.cuda.say(what, sum);
    }
}

type Group = (&'static str, fn(&Bench));

const GROUPS: [Group; 17] = [
    ("graphs", graphs::run),
    ("graph copies", graph_copies::run),
    ("recordings", recordings::run),
    ("areas", areas::run),
    ("ipc", ipc::run),
    ("order", order::run),
    ("order of queues", order::queues),
    ("nests", nests::run),
    ("nests in themselves", nests::themselves),
    ("older", older::run),
    ("older, a place before the first", older::before_the_first),
    ("green", green::run),
    ("green, of no resource", green::of_none),
    ("sharing", sharing::run),
    ("external", external::run),
    ("blocks", external::blocks),
    ("asides", asides::run),
];

/// What runs in a child.
fn child(arguments: &[String]) -> Result<(), String> {
    let bench = Bench::open()?;
    let (option, rest) = arguments.split_first().ok_or("no option")?;
    match option.as_str() {
        ipc::OPTION => ipc::other(&bench, rest),
        sharing::OPTION => sharing::other(&bench, rest),
        _ => {
            let (name, group) = GROUPS.iter().find(|(name, _)| rest == [*name]).ok_or("no such group")?;
            bench.cuda.group(name);
            group(&bench);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first.starts_with("--")) {
        return child(&arguments).map_or_else(|message| fail("wide", 3, &message), |()| ExitCode::SUCCESS);
    }
    let names = GROUPS.map(|(name, _)| name);
    let mut all = true;
    for name in groups::chosen("wide", &names, arguments.first().map(String::as_str)) {
        match groups::run(name) {
            // One that did not begin is no reason to leave out the others.
            Ok(status) => all &= matches!(status, None | Some(0)),
            Err(message) => fail("wide", 3, &message),
        }
    }
    if all { ExitCode::SUCCESS } else { ExitCode::from(3) }
}
