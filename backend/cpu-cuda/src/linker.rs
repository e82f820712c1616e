//! Linking: several PTX texts to one image.

use std::sync::Mutex;

use crate::driver;
use crate::engine::{self, CompileErrorKind};
use crate::handle::{Handle, Object, object};
use crate::image;
use crate::jit_options::JitOptions;
use crate::module::{PLAIN_SHARED, compile_status};
use crate::status::{Answer, Status};
use crate::work::lock;

/// CUjitInputType.
const INPUT_CUBIN: u32 = 0;
const INPUT_PTX: u32 = 1;
const INPUT_FATBINARY: u32 = 2;
const INPUT_LIBRARY: u32 = 4;
const INPUT_LAST: u32 = 5;

/// A GPU's linker takes code from this `.target` on.
const OLDEST_TARGET: u32 = 20;

/// What stands in for the device runtime library, which comes as code for GPUs: the functions of grid-wide
/// synchronisation and of conditional graph nodes.
pub const DEVICE_RUNTIME: &str = include_str!("../data/device_runtime.ptx");

/// A link under way.
pub struct Linker {
    options: JitOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    parts: Vec<Vec<u8>>,
    /// The result: the program reads it until the link is destroyed.
    image: Option<Box<[u8]>>,
    info: String,
    /// Two parts did not fit together: the link is spoilt.
    failed: Option<Status>,
}

object!(Linker, 18);

impl Linker {
    /// cuLinkCreate.
    pub fn create(options: JitOptions) -> Answer<Handle<Linker>> {
        Ok(Linker::table().insert(|_| Linker { options, state: Mutex::default() })?.0)
    }

    /// cuLinkAddData.
    pub fn add(&self, kind: u32, bytes: &[u8], name: &str, options: JitOptions) -> Answer {
        let capability = driver::initialised()?.capability;
        let text = match kind {
            INPUT_PTX | INPUT_FATBINARY => image::in_bytes(bytes, capability),
            // What cuLinkComplete gives is called a cubin and may be linked again.
            INPUT_CUBIN if !bytes.starts_with(b"\x7fELF") => image::in_bytes(bytes, capability),
            INPUT_CUBIN => Err(Status::NO_BINARY_FOR_GPU),
            INPUT_LIBRARY if name.contains("cudadevrt") => Ok(DEVICE_RUNTIME.as_bytes().to_vec()),
            3..=INPUT_LAST => Err(Status::NOT_SUPPORTED),
            _ => Err(Status::INVALID_VALUE),
        };
        let refused = |message: &str, status: Status| {
            self.options.and(options).report("", &format!("error: {name}: {message}\n"), 0.0);
            log::warn!("link input {name} refused: {message}");
            status
        };
        let checked = text.and_then(|text| match engine::load(&text, &driver::initialised()?.compile_options()) {
            Ok(whole) if whole.oldest_target() < OLDEST_TARGET => {
                Err(refused("code of before sm_20 cannot be linked", Status::INVALID_PTX))
            }
            // A part may need others.
            Err(error) if error.kind != CompileErrorKind::UnresolvedSymbol => {
                Err(refused(&error.to_string(), compile_status(error.kind)))
            }
            _ => Ok(text),
        })?;
        let mut state = lock(&self.state);
        if state.image.is_some() {
            return Err(Status::INVALID_VALUE);
        }
        let all: Vec<&[u8]> = state.parts.iter().chain([&checked]).map(Vec::as_slice).collect();
        if let Err(error) = engine::link(&all, &driver::initialised()?.compile_options())
            && error.kind == CompileErrorKind::DefinedTwice
        {
            state.failed = Some(compile_status(error.kind));
            return Err(refused(&error.to_string(), compile_status(error.kind)));
        }
        state.info.push_str(&format!("info: {name}: {} bytes of PTX\n", checked.len()));
        state.parts.push(checked);
        Ok(())
    }

    /// cuLinkComplete: where the image lies, and its bytes.
    pub fn complete(&self) -> Answer<(u64, u64)> {
        let mut state = lock(&self.state);
        if let Some(status) = state.failed {
            return Err(status);
        }
        if state.image.is_some() {
            return Err(Status::INVALID_HANDLE);
        }
        let mut options = driver::initialised()?.compile_options();
        options.max_registers = self.options.max_registers;
        let parts: Vec<&[u8]> = state.parts.iter().map(Vec::as_slice).collect();
        let linked = engine::link(&parts, &options).and_then(|image| Ok((engine::load(&image, &options)?, image)));
        match linked {
            Ok((whole, _))
                if whole.functions().iter().any(|info| info.is_entry && info.static_shared_bytes > PLAIN_SHARED) =>
            {
                self.options.report(&state.info, "error: a kernel has more than 48 KiB of shared memory\n", 0.0);
                Err(Status::INVALID_SOURCE)
            }
            Ok((_, mut image)) => {
                // Readers that take the image for text look for its end.
                image.push(0);
                self.options.report(&state.info, "", 0.0);
                let kept = state.image.insert(image.into_boxed_slice());
                Ok((kept.as_ptr() as u64, kept.len() as u64))
            }
            Err(error) => {
                self.options.report(&state.info, &format!("error: {error}\n"), 0.0);
                Err(compile_status(error.kind))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_runtime_when_compiled_then_accepted() {
        let module = engine::load(DEVICE_RUNTIME.as_bytes(), &engine::Options::default()).expect("good PTX");
        assert!(module.function("cudaCGSynchronize").is_some());
    }
}
