//! Messages in the shape that the spec gives each call, with values that no guest library would send.

use std::collections::HashMap;
use std::path::Path;

use spec_gen::Spec;
use spec_gen::model::{Call, Element, Number, Role};
use wire::handle::Handle;
use wire::payload::{Buffer, Full, Writer};
use wire::window::{STAGING_OFFSET, WINDOW_BYTES_LOCAL};

use crate::random::Random;

/// Leases that a test may have lent.
pub const LEASES: u32 = 4;
/// Bytes of each.
pub const LEASE_BYTES: u64 = 16 * 4096;
/// Names of kernels and variables in [`CODE`].
const NAMES: [&str; 8] = ["fill", "add_arrays", "globals", "variable", "table", "nothing", "", "no such"];
/// An ordinary module.
const CODE: &[u8] = include_bytes!("../../programs/kernels/battery.ptx");

/// What a session has made so far, and what the spec says.
pub struct Shapes {
    spec: Spec,
    random: Random,
    made: HashMap<u8, Vec<Handle>>,
    next: HashMap<u8, u32>,
    addresses: Vec<u64>,
}

impl Shapes {
    /// CUDA's, for a session that has made nothing.
    ///
    /// # Panics
    /// Where the spec is wrong.
    #[must_use]
    pub fn new(seed: u64) -> Shapes {
        Shapes::of("cuda", seed)
    }

    /// Those of the API with that name.
    ///
    /// # Panics
    /// Where the spec is wrong.
    #[must_use]
    pub fn of(api: &str, seed: u64) -> Shapes {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/api").join(api).with_extension("rs");
        let spec = spec_gen::build::spec(&file).expect("a spec");
        Shapes { spec, random: Random::new(seed), made: HashMap::new(), next: HashMap::new(), addresses: Vec::new() }
    }

    /// Begins anew, for a fresh session.
    pub fn forget(&mut self) {
        self.made.clear();
        self.next.clear();
        self.addresses.clear();
    }

    /// Number of the call with that name.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn call(&self, name: &str) -> u16 {
        self.spec.calls.iter().find(|call| call.name == name).expect("a call of the spec").number
    }

    /// The kinds of handles, by number.
    #[must_use]
    pub fn kinds(&self) -> Vec<u8> {
        self.spec.kinds.iter().map(|kind| kind.number).collect()
    }

    /// All calls: name, number, whether it is waited for.
    #[must_use]
    pub fn calls(&self) -> Vec<(String, u16, bool)> {
        self.spec.calls.iter().map(|call| (call.name.clone(), call.number, call.waits)).collect()
    }

    /// Any call, and whether it is waited for.
    pub fn any_call(&mut self) -> (u16, bool) {
        let place = self.random.below(self.spec.calls.len() as u64) as usize;
        let call = &self.spec.calls[place];
        (call.number, call.waits)
    }

    /// Name of a call, for the log.
    #[must_use]
    pub fn name(&self, number: u16) -> &str {
        self.spec.calls.iter().find(|call| call.number == number).map_or("none", |call| &call.name)
    }

    /// An address that the device gave out.
    pub fn learn(&mut self, address: u64) {
        self.addresses.push(address);
    }

    /// A payload for a call.
    ///
    /// # Panics
    /// Where the call is not in the spec.
    pub fn payload(&mut self, number: u16) -> Vec<u8> {
        let call = self.spec.calls.iter().find(|call| call.number == number).expect("a call of the spec").clone();
        let mut memory = vec![0; 60_000];
        let mut writer = Writer::new(&mut memory);
        // What does not fit is cut off: a message that is too short.
        let _ = self.fill(&call, &mut writer);
        let bytes = writer.len();
        memory.truncate(bytes);
        if self.random.once_in(400) {
            self.spoil(&mut memory);
        }
        memory
    }

    fn spoil(&mut self, payload: &mut Vec<u8>) {
        match self.random.below(3) {
            0 => payload.truncate(self.random.below(payload.len() as u64 + 1) as usize),
            1 => payload.extend([7; 5]),
            _ => {
                let at = self.random.below(payload.len().max(1) as u64) as usize;
                if let Some(byte) = payload.get_mut(at) {
                    *byte ^= 1 << self.random.below(8);
                }
            }
        }
    }

    fn fill(&mut self, call: &Call, w: &mut Writer<'_>) -> Result<(), Full> {
        // Buffers that share a length argument have the same.
        let elements = self.random.one_of(&[0, 1, 4, 64, 1000]);
        for argument in &call.arguments {
            match &argument.role {
                Role::Number { device: Some(_), .. } => w.u64(self.address())?,
                Role::Number { .. } if call.name.starts_with("gpuferryStage") && argument.name == "offset" => {
                    w.u64(STAGING_OFFSET as u64 + self.random.below(64) * 64)?;
                }
                Role::Number { number, .. } => self.number(*number, w)?,
                Role::Struct(place) => self.fields(*place, &call.name, w)?,
                Role::Handle { kind, .. } => {
                    let kind = self.spec.kinds[*kind].number;
                    w.u64(self.handle(kind))?;
                }
                Role::AnyHandle => {
                    let kind = self.random.below(16) as u8;
                    w.u64(self.handle(kind))?;
                }
                Role::New { kind, .. } => {
                    let kind = self.spec.kinds[*kind].number;
                    w.u64(self.fresh(kind))?;
                }
                Role::Input { element, .. } if call.name.ends_with("Load") || call.name == "gpuferryLinkAdd" => {
                    let _ = element;
                    let code = self.code();
                    w.buffer(Buffer::Inline(&code))?;
                }
                Role::Input { element, .. } => self.buffer(elements * self.spec.measure(element).0 as u64, false, w)?,
                Role::Output { element, .. } => self.buffer(elements * self.spec.measure(element).0 as u64, true, w)?,
                Role::Handles { kind, .. } => {
                    let kind = self.spec.kinds[*kind].number;
                    let list: Vec<u8> = (0..elements).flat_map(|_| self.handle(kind).to_le_bytes()).collect();
                    w.run(&list)?;
                }
                Role::Run { align } => {
                    let bytes = match argument.name.as_str() {
                        _ if self.random.once_in(100) => self.random.below(100) as usize,
                        "options" | "library_options" => self.random.below(3) as usize * 16,
                        "attributes" => self.random.below(3) as usize * 72,
                        "value" => 64,
                        _ => self.random.one_of(&[0usize, 8, 16, 24, 64, 72, 4000]),
                    };
                    w.u32(bytes as u32)?;
                    let run = w.space(*align, bytes)?;
                    let is_options = argument.name.ends_with("options");
                    for (place, word) in run.chunks_exact_mut(8).enumerate() {
                        // An option is a number of 32 bits, then zero, then its value.
                        let value = if is_options && place % 2 == 0 { self.random.below(40) } else { self.word() };
                        word.copy_from_slice(&value.to_le_bytes());
                    }
                }
                Role::Text => w.run(self.random.one_of(&NAMES).as_bytes())?,
                Role::Length { .. } | Role::Out { .. } | Role::OutRun => {}
            }
        }
        Ok(())
    }

    fn code(&mut self) -> Vec<u8> {
        let mut code = CODE.to_vec();
        if self.random.once_in(2) {
            for _ in 0..self.random.below(4) {
                let at = self.random.below(code.len() as u64) as usize;
                code[at] = self.random.one_of(b"0123456789%[];,.u \n\0\xff");
            }
        }
        if self.random.once_in(10) {
            code = (0..self.random.below(600)).map(|_| self.random.any() as u8).collect();
            let magic: [&[u8]; 3] = [b"\x50\xed\x55\xba", b"\x7fELF\x02", b"\xb1\x43\x62\x46"];
            let magic = self.random.one_of(&magic);
            code.splice(0..0, magic.iter().copied());
        }
        code
    }

    fn buffer(&mut self, bytes: u64, output: bool, w: &mut Writer<'_>) -> Result<(), Full> {
        let inside = bytes.min(LEASE_BYTES);
        let inline = vec![0xa5; bytes.min(30_000) as usize];
        let buffer = match self.random.below(7) {
            0 => Buffer::Null,
            1 | 2 if output => Buffer::Reply { bytes },
            1 | 2 => Buffer::Inline(&inline),
            3 => Buffer::Staging { offset: STAGING_OFFSET as u64 + self.random.below(4) * 64, bytes },
            4 => Buffer::Lease {
                lease: self.random.below(u64::from(LEASES)) as u32,
                offset: LEASE_BYTES - inside,
                bytes,
            },
            5 if self.random.once_in(50) => {
                let offset = self.random.one_of(&[0, WINDOW_BYTES_LOCAL as u64 - 1, u64::MAX, u64::MAX - bytes]);
                Buffer::Staging { offset, bytes }
            }
            6 if self.random.once_in(50) => {
                Buffer::Lease { lease: self.random.any() as u32, offset: self.random.any(), bytes }
            }
            _ if output => Buffer::Reply { bytes: bytes.min(4000) },
            _ => Buffer::Inline(&inline),
        };
        w.buffer(buffer)
    }

    fn fields(&mut self, place: usize, call: &str, w: &mut Writer<'_>) -> Result<(), Full> {
        for field in self.spec.structs[place].fields.clone() {
            for _ in 0..field.count.unwrap_or(1) {
                match &field.element {
                    // The side that is a buffer.
                    Element::Number { .. } if call.ends_with("FromHost") && field.name == "srcMemoryType" => {
                        w.u32(1)?
                    }
                    Element::Number { .. } if call.ends_with("ToHost") && field.name == "dstMemoryType" => w.u32(1)?,
                    Element::Number { number, .. } => self.number(*number, w)?,
                    Element::Struct(inner) => self.fields(*inner, call, w)?,
                }
            }
        }
        Ok(())
    }

    fn number(&mut self, number: Number, w: &mut Writer<'_>) -> Result<(), Full> {
        let word = self.word();
        match number.bytes() {
            1 => w.u8(word as u8),
            2 => w.u16(word as u16),
            4 => w.u32(word as u32),
            _ => w.u64(word),
        }
    }

    /// A number: mostly one that means something.
    fn word(&mut self) -> u64 {
        match self.random.below(12) {
            0..6 => self.random.below(5),
            6 => self.address(),
            7 => self.random.one_of(&[8, 16, 32, 100, 256, 1000, 1024, 4096, 65536]),
            8 => self.random.one_of(&[u64::MAX, 1 << 63, 1 << 31, 1 << 62, u64::MAX - 4095, (1 << 32) - 1]),
            9 => {
                let kind = self.random.below(16) as u8;
                self.handle(kind)
            }
            10 => self.random.below(64),
            _ => 0,
        }
    }

    fn address(&mut self) -> u64 {
        let hostile = [0, 1, 0x1000, u64::MAX, 0x7fff_ffff_f000, 0x6000_0000_0000, 0xffff_8000_0000_0000];
        match self.random.below(8) {
            0 => self.random.one_of(&hostile),
            _ if self.addresses.is_empty() => 0,
            1 => self.random.one_of(&self.addresses).wrapping_add(self.random.below(70_000)),
            _ => self.random.one_of(&self.addresses),
        }
    }

    fn handle(&mut self, kind: u8) -> u64 {
        let live = self.made.get(&kind).filter(|made| !made.is_empty());
        match (self.random.below(10), live) {
            (0, _) => self.random.one_of(&[0, 1, 2, u64::MAX, 1 << 48, Handle::new(kind, 1, 0xf_ffff).0]),
            (1, _) => Handle::new(kind, self.random.below(4) as u16 + 1, self.random.below(8) as u32).0,
            (_, Some(made)) => self.random.one_of(made).0,
            _ => 0,
        }
    }

    /// The next number of a kind, as a guest makes it.
    pub fn fresh(&mut self, kind: u8) -> u64 {
        if self.random.once_in(100) {
            return self.handle(kind);
        }
        let next = self.next.entry(kind).or_default();
        let handle = Handle::new(kind, 1, *next);
        *next += 1;
        self.made.entry(kind).or_default().push(handle);
        handle.0
    }
}
