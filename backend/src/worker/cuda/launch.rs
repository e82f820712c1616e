//! Launches: from the packed parameters and attributes of a message to the library's form of launch that can do it.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::handle::Handle;

use super::Cuda;
use super::functions::{Code, Layout};
use super::generated::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED, LAUNCH_COOPERATIVE, Launch, kind};
use crate::worker::answer::{Failure, function, ok};

/// `CUlaunchAttribute`: number, padding, 64 bytes of value.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attribute {
    id: u32,
    padding: u32,
    value: [u64; 8],
}

/// `CUlaunchConfig`.
#[repr(C)]
struct Config {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    stream: *mut c_void,
    attributes: *mut Attribute,
    attribute_count: u32,
}

const _: () = assert!(size_of::<Attribute>() == 72 && size_of::<Config>() == 56);

/// Bytes of an attribute in a message.
const RECORD: usize = size_of::<Attribute>();
/// Most attributes of a launch; the API has 17.
const MAX_ATTRIBUTES: usize = 32;
/// Most parameters for which the array of pointers lies on the stack.
const FEW: usize = 64;

/// `CUlaunchAttributeID`s that are more than numbers.
const ATTRIBUTE_COOPERATIVE: u32 = 2;
const ATTRIBUTE_PROGRAMMATIC_EVENT: u32 = 7;
const ATTRIBUTE_COMPLETION_EVENT: u32 = 12;
/// Gives a handle back: does not travel.
const ATTRIBUTE_UPDATABLE_NODE: u32 = 13;
/// The last that is known here.
const LAST_ATTRIBUTE: u32 = 16;

/// `CU_LAUNCH_PARAM_*`.
const PARAM_END: *mut c_void = std::ptr::null_mut();
const PARAM_BUFFER_POINTER: *mut c_void = std::ptr::without_provenance_mut(1);
const PARAM_BUFFER_SIZE: *mut c_void = std::ptr::without_provenance_mut(2);

/// Whether an attribute's value is numbers alone, which go to the library as they are.
pub(super) fn is_number(id: u32) -> bool {
    id <= LAST_ATTRIBUTE
        && ![ATTRIBUTE_PROGRAMMATIC_EVENT, ATTRIBUTE_COMPLETION_EVENT, ATTRIBUTE_UPDATABLE_NODE].contains(&id)
}

impl Cuda {
    /// `cuLaunchKernel` and all its relatives.
    pub(super) fn cuLaunchKernel(
        &self,
        _from: &FrameHeader,
        handle: Handle,
        stream: *mut c_void,
        launch: &Launch,
        attributes: &[u8],
        parameters: &[u8],
    ) -> Result<(), Failure> {
        self.with_launchable(handle, |code, layout| {
            let launch = || self.launch(code, layout, stream, launch, attributes, parameters);
            if layout.local.is_counted_here() { launch() } else { self.launch_first(layout, stream, launch) }
        })
    }

    /// The first launch of a function that needs local memory, in this context.
    #[cold]
    fn launch_first(
        &self,
        layout: &Layout,
        stream: *mut c_void,
        launch: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // What is recorded takes the memory when the graph is instantiated.
        if self.records(stream)? { launch() } else { layout.local.launch_first(launch) }
    }

    fn launch(
        &self,
        code: Code,
        layout: &Layout,
        stream: *mut c_void,
        launch: &Launch,
        attributes: &[u8],
        parameters: &[u8],
    ) -> Result<(), Failure> {
        let mut attributes = self.attributes(attributes)?;
        let cooperative = launch.flags & LAUNCH_COOPERATIVE != 0;
        let Some(places) = &layout.parameters else {
            // The library cannot tell the layout: it is told the block's length and checks that itself.
            return self.launch_block(code, stream, launch, &mut attributes, cooperative, parameters);
        };
        if parameters.len() < layout.bytes {
            return Err(Failure::Status(CUDA_ERROR_INVALID_VALUE));
        }
        let mut few = [const { MaybeUninit::uninit() }; FEW];
        let mut many;
        let pointers = match few.get_mut(..places.len()) {
            Some(pointers) => pointers,
            None => {
                many = vec![MaybeUninit::uninit(); places.len()];
                &mut many[..]
            }
        };
        point(pointers, layout, parameters)?;
        let pointers = pointers.as_mut_ptr().cast();
        self.launch_with(code, stream, launch, &mut attributes, cooperative, pointers, std::ptr::null_mut())
    }

    fn launch_block(
        &self,
        code: Code,
        stream: *mut c_void,
        launch: &Launch,
        attributes: &mut Vec<Attribute>,
        cooperative: bool,
        parameters: &[u8],
    ) -> Result<(), Failure> {
        let mut bytes = parameters.len();
        let block = parameters.as_ptr().cast_mut().cast();
        let mut extra = [PARAM_BUFFER_POINTER, block, PARAM_BUFFER_SIZE, (&raw mut bytes).cast::<c_void>(), PARAM_END];
        self.launch_with(code, stream, launch, attributes, cooperative, std::ptr::null_mut(), extra.as_mut_ptr())
    }

    #[allow(clippy::too_many_arguments)]
    fn launch_with(
        &self,
        code: Code,
        stream: *mut c_void,
        launch: &Launch,
        attributes: &mut Vec<Attribute>,
        cooperative: bool,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> Result<(), Failure> {
        let f = code.object();
        let Launch { gridDimX: gx, gridDimY: gy, gridDimZ: gz, blockDimX: bx, blockDimY: by, blockDimZ: bz, .. } =
            *launch;
        let shared = launch.sharedMemBytes;
        if attributes.is_empty() && !cooperative {
            let call = function!(self, cuLaunchKernel)?;
            // SAFETY: function and stream live; the parameters are as many and as long as the function's layout says, or a
            // block whose length goes with it.
            return ok(unsafe { call(f, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra) });
        }
        if attributes.is_empty() && extra.is_null() {
            let call = function!(self, cuLaunchCooperativeKernel)?;
            // SAFETY: as above.
            return ok(unsafe { call(f, gx, gy, gz, bx, by, bz, shared, stream, parameters) });
        }
        if cooperative {
            let value = [1, 0, 0, 0, 0, 0, 0, 0];
            attributes.push(Attribute { id: ATTRIBUTE_COOPERATIVE, padding: 0, value });
        }
        let call = function!(self, cuLaunchKernelEx)?;
        let config = config(stream, launch, attributes);
        // SAFETY: as above; the configuration leads to as many attributes as it says.
        ok(unsafe { call((&raw const config).cast(), f, parameters, extra) })
    }

    /// Attributes as the library takes them: known ones only, handles in them exchanged.
    fn attributes(&self, records: &[u8]) -> Result<Vec<Attribute>, Failure> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        if !records.len().is_multiple_of(RECORD) || records.len() / RECORD > MAX_ATTRIBUTES {
            return Err(Malformed::new("broken launch attributes").into());
        }
        let mut attributes = Vec::with_capacity(records.len() / RECORD);
        for record in records.chunks_exact(RECORD) {
            let mut reader = wire::payload::Reader::new(record);
            let (id, padding) = (reader.u32()?, reader.u32()?);
            let mut value = [0u64; 8];
            for word in &mut value {
                *word = reader.u64()?;
            }
            if padding != 0 || id > LAST_ATTRIBUTE || id == ATTRIBUTE_UPDATABLE_NODE {
                return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED));
            }
            if id == ATTRIBUTE_PROGRAMMATIC_EVENT || id == ATTRIBUTE_COMPLETION_EVENT {
                value[0] = self.handle(kind::CUevent, Handle(value[0]))?.addr() as u64;
            }
            attributes.push(Attribute { id, padding, value });
        }
        Ok(attributes)
    }

    /// `gpuferryOccupancyClusters`.
    pub(super) fn gpuferryOccupancyClusters(
        &self,
        _from: &FrameHeader,
        clusters: &mut i32,
        handle: Handle,
        stream: *mut c_void,
        launch: &Launch,
        attributes: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, cuOccupancyMaxActiveClusters)?;
        // SAFETY: `configured` gives a live function and configuration; the pointer is to a live variable.
        self.configured(handle, stream, launch, attributes, |f, config| unsafe { call(clusters, f, config) })
    }

    /// `gpuferryOccupancyClusterSize`.
    pub(super) fn gpuferryOccupancyClusterSize(
        &self,
        _from: &FrameHeader,
        size: &mut i32,
        handle: Handle,
        stream: *mut c_void,
        launch: &Launch,
        attributes: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, cuOccupancyMaxPotentialClusterSize)?;
        // SAFETY: as above.
        self.configured(handle, stream, launch, attributes, |f, config| unsafe { call(size, f, config) })
    }

    /// Asks the library about a launch that is not made: `ask` gets the function and the `CUlaunchConfig`.
    fn configured(
        &self,
        handle: Handle,
        stream: *mut c_void,
        launch: &Launch,
        attributes: &[u8],
        ask: impl FnOnce(*mut c_void, *const c_void) -> i32,
    ) -> Result<(), Failure> {
        let code = self.code(handle)?;
        let mut attributes = self.attributes(attributes)?;
        let config = config(stream, launch, &mut attributes);
        ok(ask(code.object(), (&raw const config).cast()))
    }
}

fn config(stream: *mut c_void, launch: &Launch, attributes: &mut Vec<Attribute>) -> Config {
    Config {
        grid: [launch.gridDimX, launch.gridDimY, launch.gridDimZ],
        block: [launch.blockDimX, launch.blockDimY, launch.blockDimZ],
        shared_bytes: launch.sharedMemBytes,
        stream,
        attributes: attributes.as_mut_ptr(),
        attribute_count: attributes.len() as u32,
    }
}

/// Makes the pointers lead to the parameters in the block, which is long enough; where that works all of them are written that
/// have a parameter.
pub(super) fn point(pointers: &mut [MaybeUninit<*mut c_void>], layout: &Layout, block: &[u8]) -> Result<(), Failure> {
    let places = layout.parameters.as_deref().unwrap_or(&[]);
    for (pointer, (offset, bytes)) in pointers.iter_mut().zip(places) {
        let end = offset.checked_add(*bytes).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        let parameter = block.get(*offset..end).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        pointer.write(parameter.as_ptr().cast_mut().cast());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_when_the_block_is_short_then_refuses() {
        let layout =
            Layout { parameters: Some(vec![(0, 8), (8, 4)]), bytes: 12, local: super::super::quota::Local::default() };
        let mut pointers = [const { MaybeUninit::uninit() }; 2];
        let block = [0u8; 12];
        assert_eq!(point(&mut pointers, &layout, &block), Ok(()));
        // SAFETY: the call before has written both.
        let [first, second] = pointers.map(|pointer| unsafe { pointer.assume_init() });
        assert_eq!(second.addr() - first.addr(), 8);
        assert!(point(&mut pointers, &layout, &block[..11]).is_err());
    }
}
