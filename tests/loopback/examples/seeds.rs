//! Writes inputs for the fuzz targets into a folder, one folder a target: what the unit tests of each decoder use, and for
//! `dispatch` messages of the spec's shape of each call, after those that make a context and memory. `tests/fuzz/run` calls
//! it.

use std::path::{Path, PathBuf};

use loopback::shapes::Shapes;
use wire::control::{Message, Piece, REGION_ATTACHED};
use wire::device::{PIN_READ, PIN_WRITE, REQUEST_CLOSE, REQUEST_OPEN, REQUEST_PIN, REQUEST_UNPIN};

/// Variants of each call.
const VARIANTS: u64 = 4;
/// Flags of a message of `dispatch`: in the first context, and without a slot.
const IN_CONTEXT: u8 = 2;
const POSTED: u8 = 1;
/// Flags of the first message: the session is NVML's or OpenCL's.
const NVML: u8 = 0x10;
const OPENCL: u8 = 0x20;
/// Kernels for the compiler of the CPU device.
const PTX: [&str; 2] = [
    include_str!("../../../backend/cpu-cuda/tests/ptx/kernels.ptx"),
    include_str!("../../programs/kernels/battery.ptx"),
];

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("a folder"));
    dispatch(&folder);
    control(&folder);
    requests(&folder);
    ptx(&folder);
}

fn write(folder: &Path, target: &str, name: &str, input: &[u8]) {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(name), input).expect("written");
}

fn dispatch(folder: &Path) {
    // As in `backend/src/worker/{cuda,nvml,opencl}/fuzz.rs`: what sleeps until something is due is left out.
    for (api, flags) in [("cuda", 0), ("nvml", NVML), ("opencl", OPENCL)] {
        let mut calls = Shapes::of(api, 0).calls();
        calls.retain(|(name, ..)| {
            !["gpuferryNextHostFunction", "gpuferryHostFunction", "gpuferryNextCallback"].contains(&name.as_str())
        });
        calls.sort_by_key(|(_, number, _)| *number);
        for (place, (name, number, waits)) in calls.iter().enumerate() {
            for variant in 0..VARIANTS {
                let mut shapes = Shapes::of(api, variant * 1000 + place as u64);
                let mut input = Vec::new();
                if api == "cuda" {
                    let place = |name: &str| calls.iter().position(|call| call.0 == name).expect("a call of the spec");
                    let context = [&shapes.fresh(1).to_le_bytes()[..], &[0; 4]].concat();
                    input.extend(message(place("cuDevicePrimaryCtxRetain"), 0, &context));
                    input.extend(message(place("cuMemAlloc_v2"), IN_CONTEXT, &65536u64.to_le_bytes()));
                    shapes.learn(0x1000_0000);
                } else {
                    // The session begins with one object of each kind.
                    for kind in shapes.kinds() {
                        shapes.fresh(kind);
                    }
                }
                for _ in 0..3 {
                    let flags = flags | IN_CONTEXT | if *waits { 0 } else { POSTED };
                    input.extend(message(place, flags, &shapes.payload(*number)));
                }
                write(folder, "dispatch", &format!("{name}-{variant}"), &input);
            }
        }
    }
}

/// A message as `dispatch` takes it: the place has nine bits.
fn message(place: usize, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(payload.len()).expect("a frame's payload").to_le_bytes();
    let [place, ninth] = u16::try_from(place).expect("a place").to_le_bytes();
    [&[place, flags | ninth << 7, low, high][..], payload].concat()
}

/// Messages of the control sockets: as they are, and in portions with descriptors for the worker's end.
fn control(folder: &Path) {
    let piece = Piece { region: 1, offset: 4096, bytes: 8192 };
    let attached = Piece { region: REGION_ATTACHED, offset: 0, bytes: 8192 };
    let flags = PIN_READ | PIN_WRITE;
    let messages = [
        Message::Hello { wire_version: 1, process: 7, name: *b"program\0\0\0\0\0\0\0\0\0" },
        Message::Welcome { wire_version: 1, window_bytes: 1 << 24 },
        Message::Region { region: 1, offset: 0, bytes: 1 << 17 },
        Message::Open { session: 3, futex: true, row: 0, window: vec![attached] },
        Message::Pin { lease: 1, flags, address: 0x6000_0000_0010, bytes: 5000, pieces: vec![piece] },
        Message::Pin { lease: 2, flags, address: 0x6000_0000_0010, bytes: 5000, pieces: vec![attached] },
        Message::Unpin { lease: 1 },
        Message::Ready,
        Message::Done { status: 0 },
    ];
    let mut all = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        let bytes = message.to_bytes(number as u64).expect("fits");
        write(folder, "control", &format!("message-{number}"), &bytes);
        write(folder, "guest_channel", &format!("message-{number}"), &bytes);
        let portion = [&[bytes.len() as u8, message.descriptors() as u8][..], &bytes].concat();
        write(folder, "channel", &format!("message-{number}"), &portion);
        if number > 1 && number < 7 {
            all.extend(portion);
        }
    }
    write(folder, "channel", "session", &all);
}

/// Requests of the control queue.
fn requests(folder: &Path) {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let name = words(&[0x6e61_6d65, 0, 0, 0]);
    let window = |pages| [words(&[REQUEST_OPEN, 1, 1, 77]), name.clone(), words(&[0x1000, 0, pages, 0])].concat();
    let requests = [
        window(8),
        window(64),
        words(&[REQUEST_CLOSE, 1]),
        // Two pages from 0x1010 on, in two extents; and one at 4 GiB.
        words(&[REQUEST_PIN, 1, 3, PIN_READ, 0x1010, 0, 0x1000, 0, 2, 0, 0x10_0000, 0, 1, 0, 0x2000, 0, 1, 0]),
        words(&[REQUEST_PIN, 1, 3, PIN_WRITE, 0, 0, 0x1000, 0, 1, 0, 0x1000, 1, 1, 0]),
        words(&[REQUEST_UNPIN, 1, 3, 0]),
    ];
    for (number, request) in requests.iter().enumerate() {
        write(folder, "request", &format!("request-{number}"), request);
        write(folder, "pages", &format!("request-{number}"), request);
    }
}

/// One kernel an input, with the head of its file.
fn ptx(folder: &Path) {
    for (file, text) in PTX.iter().enumerate() {
        let at = text.find(".visible .entry").or(text.find(".entry")).expect("a kernel");
        let (head, kernels) = text.split_at(at);
        let directives: Vec<&str> = head
            .lines()
            .filter(|line| [".version", ".target", ".address"].iter().any(|word| line.starts_with(word)))
            .collect();
        let directives = directives.join("\n");
        for (number, kernel) in kernels.split(".visible .entry").skip(1).enumerate().filter(|(_, k)| k.len() < 3500) {
            let input = format!("{directives}\n.visible .entry{kernel}");
            for target in ["ptx", "jit"] {
                write(folder, target, &format!("kernel-{file}-{number}"), input.as_bytes());
            }
        }
    }
}
