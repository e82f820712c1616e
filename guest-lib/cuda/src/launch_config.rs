//! Launches with attributes (cuLaunchKernelEx) and their configurations, which occupancy is asked with too.

use crate::CUresult;
use crate::generated::{self, kind};
use crate::handles::{self, Handle};
use crate::launch::{ATTRIBUTE_BYTES, ATTRIBUTES, Launch, launch};
use crate::program::In;
use crate::progress;
use crate::status::CUDA_ERROR_INVALID_VALUE;
use crate::stream;
use core::ffi::c_void;

/// `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT`.
const ATTRIBUTE_PROGRAMMATIC_EVENT: u32 = 7;
/// `CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT`.
const ATTRIBUTE_COMPLETION_EVENT: u32 = 12;

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Config {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: u64,
    attributes: *const [u8; ATTRIBUTE_BYTES],
    attribute_count: u32,
}

/// A launch configuration as messages about occupancy have it.
pub struct Described {
    /// Its stream.
    pub stream: Handle,
    /// Its sizes.
    pub launch: generated::Launch,
    /// Its attributes, in the API's own layout.
    pub attributes: Vec<u8>,
}

impl Config {
    /// Puts the configuration into the form of messages.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE`, `CUDA_ERROR_INVALID_HANDLE`.
    #[allow(non_snake_case)] // The printed struct's fields are the API's names.
    pub fn describe(&self) -> Result<Described, CUresult> {
        if self.attribute_count > ATTRIBUTES {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let mut attributes = Vec::new();
        for index in 0..self.attribute_count as usize {
            let mut attribute = In(self.attributes).at(index)?;
            attribute[4..8].fill(0);
            attributes.extend(attribute);
        }
        let ([gridDimX, gridDimY, gridDimZ], [blockDimX, blockDimY, blockDimZ]) = (self.grid, self.block);
        let sizes = generated::Launch {
            gridDimX,
            gridDimY,
            gridDimZ,
            blockDimX,
            blockDimY,
            blockDimZ,
            sharedMemBytes: self.shared,
            flags: 0,
        };
        Ok(Described { stream: stream::resolve(self.stream)?, launch: sizes, attributes })
    }
}

fn extended(
    config: In<Config>,
    function: u64,
    each: *const *const c_void,
    extra: *const usize,
    resolve: fn(u64) -> Result<Handle, CUresult>,
) -> Result<(), CUresult> {
    let config = config.get()?;
    let (attributes, attribute_count) = (In(config.attributes), config.attribute_count);
    if attribute_count > ATTRIBUTES || (attribute_count != 0 && config.attributes.is_null()) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    for index in 0..attribute_count as usize {
        let attribute = attributes.at(index)?;
        if [ATTRIBUTE_PROGRAMMATIC_EVENT, ATTRIBUTE_COMPLETION_EVENT].contains(&u32::from(attribute[0])) {
            // The launch records the event that the value begins with.
            let event = attribute.as_chunks().0.get(1).map_or(0, |word| u64::from_le_bytes(*word));
            progress::event_is_shared(handles::of_kind(kind::CUevent, event)?);
        }
    }
    let described = Launch {
        function,
        grid: config.grid,
        block: config.block,
        shared: config.shared,
        stream: resolve(config.stream)?,
        flags: 0,
        attributes,
        attribute_count,
    };
    launch(&described, each, extra)
}

crate::export! {
    /// CUDA Driver API, cuLaunchKernelEx.
    extern "C" fn cuLaunchKernelEx(
        config: In<Config>, f: u64, kernelParams: *const *const c_void, extra: *const usize,
    ) {
        extended(config, f, kernelParams, extra, stream::resolve)
    }

    /// CUDA Driver API, cuLaunchKernelEx with the per-thread default stream.
    extern "C" fn cuLaunchKernelEx_ptsz(
        config: In<Config>, f: u64, kernelParams: *const *const c_void, extra: *const usize,
    ) {
        extended(config, f, kernelParams, extra, stream::resolve_per_thread)
    }
}
