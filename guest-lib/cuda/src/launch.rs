//! Launches: checked here against limits that are known, packed with the known layout of the parameters, and posted. Nothing here
//! takes a lock or allocates.
//!
//! The first launch of a function with a shape of block is waited for: what is refused for reasons that are not known here is
//! refused by the call itself.
//!
//! One message (`spec/api/cuda.rs`, cuLaunchKernel) serves every form: function or kernel, stream, grid, block, dynamic shared
//! memory, flags, attributes, and one packed buffer of parameters.

use crate::CUresult;
use crate::caller;
use crate::device::{self, Limits};
use crate::function::{self, Layout};
use crate::generated::{LAUNCH_COOPERATIVE, kind, number};
use crate::handles::{self, Handle};
use crate::managed;
use crate::occupancy;
use crate::program::{self, In};
use crate::status::{CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES};
use crate::stream;
use core::ffi::c_void;
use rt::{Full, Reader, Writer};

/// `CU_LAUNCH_PARAM_BUFFER_POINTER` in an `extra` array.
const EXTRA_POINTER: usize = 1;
/// `CU_LAUNCH_PARAM_BUFFER_SIZE`.
const EXTRA_SIZE: usize = 2;
/// Most entries of an `extra` array that are looked at before its end is missed.
const EXTRA_ENTRIES: usize = 8;
/// Bytes of a `CUlaunchAttribute`: its number, padding, its value.
pub(crate) const ATTRIBUTE_BYTES: usize = 72;
/// Most attributes of a launch.
pub(crate) const ATTRIBUTES: u32 = 32;
/// Most bytes of parameters that any function has.
const PARAMETER_BYTES: usize = 32 << 10;
/// `CU_LAUNCH_ATTRIBUTE_COOPERATIVE`.
const ATTRIBUTE_COOPERATIVE: u32 = 2;

/// A launch as the program describes it.
#[derive(Clone, Copy)]
pub(crate) struct Launch {
    pub function: u64,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub stream: Handle,
    pub flags: u32,
    pub attributes: In<[u8; ATTRIBUTE_BYTES]>,
    pub attribute_count: u32,
}

/// Where the parameters' bytes are.
#[derive(Clone, Copy)]
enum Parameters {
    /// One pointer for each.
    Each(*const *const c_void),
    /// Packed already.
    Packed(*const c_void, usize),
}

/// Refuses what the native driver refuses at once.
///
/// # Errors
/// Its codes.
fn check(launch: &Launch, layout: &Layout, limits: &Limits) -> Result<(), CUresult> {
    let fits = |size: &[u32; 3], most: &[u32; 3]| size.iter().zip(most).all(|(size, most)| *size != 0 && size <= most);
    if !fits(&launch.grid, &limits.grid) || !fits(&launch.block, &limits.block) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    // Each is at most 1,024 here, so the product fits.
    let threads = launch.block.iter().product::<u32>();
    if threads > limits.threads {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    if threads > layout.threads() {
        let registers = u64::from(layout.registers()) * u64::from(threads);
        let many = registers > u64::from(limits.registers);
        return Err(if many { CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES } else { CUDA_ERROR_INVALID_VALUE });
    }
    if launch.shared > layout.shared() { Err(CUDA_ERROR_INVALID_VALUE) } else { Ok(()) }
}

/// Finds the parameters of a launch.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` where they are missing or given twice, `CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES` for more bytes than
/// the function takes: as the native driver.
fn parameters(each: *const *const c_void, extra: *const usize, layout: &Layout) -> Result<Parameters, CUresult> {
    if layout.parameters.is_empty() && layout.parameter_bytes == 0 {
        return Ok(Parameters::Packed(core::ptr::null(), 0));
    }
    match (each.is_null(), extra.is_null()) {
        (true, true) | (false, false) => Err(CUDA_ERROR_INVALID_VALUE),
        (false, true) => {
            let each_of = In(each);
            for index in 0..layout.parameters.len() {
                if each_of.at(index)?.is_null() {
                    return Err(CUDA_ERROR_INVALID_VALUE);
                }
            }
            Ok(Parameters::Each(each))
        }
        (true, false) => {
            let (data, bytes) = packed(In(extra))?;
            if bytes == 0 {
                return Err(CUDA_ERROR_INVALID_VALUE);
            }
            if bytes > layout.parameter_bytes {
                return Err(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
            }
            Ok(Parameters::Packed(data, bytes))
        }
    }
}

/// Reads an `extra` array: pairs of a name and a pointer, ended by zero.
fn packed(extra: In<usize>) -> Result<(*const c_void, usize), CUresult> {
    let (mut data, mut bytes) = (core::ptr::null::<c_void>(), 0);
    for entry in 0..EXTRA_ENTRIES {
        match extra.at(2 * entry)? {
            0 => {
                return if data.is_null() && bytes != 0 { Err(CUDA_ERROR_INVALID_VALUE) } else { Ok((data, bytes)) };
            }
            EXTRA_POINTER => data = extra.at(2 * entry + 1)? as *const c_void,
            EXTRA_SIZE => bytes = In(extra.at(2 * entry + 1)? as *const usize).get()?,
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        }
    }
    Err(CUDA_ERROR_INVALID_VALUE)
}

/// Writes attributes as the message has them: in the API's own layout, padding zero.
fn encode_attributes(w: &mut Writer<'_>, attributes: In<[u8; ATTRIBUTE_BYTES]>, count: u32) -> Result<(), Full> {
    w.u32(count * ATTRIBUTE_BYTES as u32)?;
    for index in 0..count as usize {
        let mut attribute = attributes.at(index).map_err(|_| Full)?;
        attribute[4..8].fill(0);
        w.raw(&attribute)?;
    }
    Ok(())
}

/// Writes the message (`spec/api/cuda.rs`, cuLaunchKernel) straight from the program's memory.
fn encode(
    w: &mut Writer<'_>,
    function: Handle,
    launch: &Launch,
    layout: &Layout,
    given: Parameters,
) -> Result<(), Full> {
    w.u64(function.0)?;
    w.u64(launch.stream.0)?;
    for size in launch.grid.iter().chain(&launch.block) {
        w.u32(*size)?;
    }
    w.u32(launch.shared)?;
    w.u32(launch.flags)?;
    encode_attributes(w, launch.attributes, launch.attribute_count)?;
    match given {
        Parameters::Packed(data, bytes) => {
            // A buffer may end before its last parameters do: what is not there is zero.
            w.u32(layout.parameter_bytes as u32)?;
            let (space, rest) = w.space(16, layout.parameter_bytes)?.split_at_mut_checked(bytes).ok_or(Full)?;
            // SAFETY: the program's packed buffer is as long as it says (CUDA Driver API, cuLaunchKernel).
            unsafe { program::read_into(data, space) };
            rest.fill(0);
        }
        Parameters::Each(each) => {
            w.u32(layout.parameter_bytes as u32)?;
            let space = w.space(16, layout.parameter_bytes)?;
            for (index, parameter) in layout.parameters.iter().enumerate() {
                let from = In(each).at(index).map_err(|_| Full)?;
                let range = parameter.offset as usize..(parameter.offset + parameter.bytes) as usize;
                // SAFETY: each pointer leads to the parameter that the function declares (CUDA Driver API, cuLaunchKernel).
                unsafe { program::read_into(from, space.get_mut(range).ok_or(Full)?) };
            }
        }
    }
    Ok(())
}

/// The parameters of a launch, packed.
///
/// # Errors
/// As for a launch.
pub(crate) fn pack(each: *const *const c_void, extra: *const usize, layout: &Layout) -> Result<Vec<u8>, CUresult> {
    let mut packed = vec![0; layout.parameter_bytes];
    match parameters(each, extra, layout)? {
        Parameters::Packed(data, bytes) => {
            let space = packed.get_mut(..bytes).ok_or(CUDA_ERROR_INVALID_VALUE)?;
            // SAFETY: the program's packed buffer is as long as it says (CUDA Driver API, cuLaunchKernel).
            unsafe { program::read_into(data, space) };
        }
        Parameters::Each(each) => {
            for (index, parameter) in layout.parameters.iter().enumerate() {
                let range = parameter.offset as usize..(parameter.offset + parameter.bytes) as usize;
                let space = packed.get_mut(range).ok_or(CUDA_ERROR_INVALID_VALUE)?;
                // SAFETY: each pointer leads to the parameter that the function declares (CUDA Driver API, cuLaunchKernel).
                unsafe { program::read_into(In(each).at(index)?, space) };
            }
        }
    }
    Ok(packed)
}

/// Checks a launch, and posts it.
///
/// # Errors
/// What the native driver answers at once, and the session's trouble.
pub(crate) fn launch(launch: &Launch, each: *const *const c_void, extra: *const usize) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let (function, layout, device) = function::layout(launch.function)?;
    check(launch, layout, &device.limits)?;
    // A kernel of a library is launched in the stream's context, a function in its own.
    let is_function = function.kind() == Some(kind::CUfunction.number);
    if is_function && device::are_several() && !core::ptr::eq(device, device::get(stream::device_of(launch.stream)?)?) {
        return Err(CUDA_ERROR_INVALID_HANDLE);
    }
    if is_cooperative(launch) {
        occupancy::check_cooperative(launch.function, launch.grid, launch.block, launch.shared)?;
    }
    let given = parameters(each, extra, layout)?;
    if layout.parameter_bytes > PARAMETER_BYTES {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    managed::before_work(&caller)?;
    let bound = 96 + launch.attribute_count as usize * ATTRIBUTE_BYTES + layout.parameter_bytes;
    let fill = |w: &mut Writer<'_>| encode(w, function, launch, layout, given);
    if layout.is_tried(launch.block, launch.shared) {
        return caller.session.post(number::cuLaunchKernel, caller.origin, bound, fill).map_err(caller::gone);
    }
    // What only the driver knows of a function (the shape of block that it asks for, say) it says at its first launch.
    let take = |status: i32, _: &mut Reader<'_>| Ok(status);
    let status = caller.session.wait(number::cuLaunchKernel, caller.origin, bound, fill, take).map_err(caller::gone)?;
    caller::answer(status)?;
    layout.tried(launch.block, launch.shared);
    Ok(())
}

/// Whether the launch is cooperative, by its flag or by an attribute.
fn is_cooperative(launch: &Launch) -> bool {
    launch.flags & LAUNCH_COOPERATIVE != 0
        || (0..launch.attribute_count as usize).any(|index| {
            let attribute = launch.attributes.at(index).unwrap_or([0; ATTRIBUTE_BYTES]);
            u32::from(attribute[0]) == ATTRIBUTE_COOPERATIVE && attribute[8..12] != [0; 4]
        })
}

/// Grid, block, bytes of dynamic shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
}

/// A launch with no attributes and no flags.
///
/// # Errors
/// As [`launch`].
pub(crate) fn of_parts(
    function: u64,
    shape: Shape,
    stream: Handle,
    each: *const *const c_void,
    extra: *const usize,
) -> Result<(), CUresult> {
    plain(function, shape.grid, shape.block, shape.shared, Ok(stream), 0, each, extra)
}

/// `CUDA_LAUNCH_PARAMS`: one device's part of a launch on several.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LaunchParams {
    function: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: u64,
    parameters: *const *const c_void,
}

/// `CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_PRE_LAUNCH_SYNC` and `…_NO_POST_LAUNCH_SYNC`.
const MULTI_DEVICE_FLAGS: u32 = 3;

const NO_ATTRIBUTES: In<[u8; ATTRIBUTE_BYTES]> = In(core::ptr::null());

#[allow(clippy::too_many_arguments)] // The API's own signature.
fn plain(
    function: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Result<Handle, CUresult>,
    flags: u32,
    each: *const *const c_void,
    extra: *const usize,
) -> Result<(), CUresult> {
    let stream = stream?;
    let described =
        Launch { function, grid, block, shared, stream, flags, attributes: NO_ATTRIBUTES, attribute_count: 0 };
    launch(&described, each, extra)
}

crate::export! {
    /// CUDA Driver API, cuLaunchKernel.
    extern "C" fn cuLaunchKernel(
        f: u64, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32,
        sharedMemBytes: u32, hStream: u64, kernelParams: *const *const c_void, extra: *const usize,
    ) {
        let (grid, block) = ([gridDimX, gridDimY, gridDimZ], [blockDimX, blockDimY, blockDimZ]);
        plain(f, grid, block, sharedMemBytes, stream::resolve(hStream), 0, kernelParams, extra)
    }

    /// CUDA Driver API, cuLaunchKernel with the per-thread default stream.
    extern "C" fn cuLaunchKernel_ptsz(
        f: u64, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32,
        sharedMemBytes: u32, hStream: u64, kernelParams: *const *const c_void, extra: *const usize,
    ) {
        let (grid, block) = ([gridDimX, gridDimY, gridDimZ], [blockDimX, blockDimY, blockDimZ]);
        plain(f, grid, block, sharedMemBytes, stream::resolve_per_thread(hStream), 0, kernelParams, extra)
    }

    /// CUDA Driver API, cuLaunchCooperativeKernel.
    extern "C" fn cuLaunchCooperativeKernel(
        f: u64, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32,
        sharedMemBytes: u32, hStream: u64, kernelParams: *const *const c_void,
    ) {
        let (grid, block) = ([gridDimX, gridDimY, gridDimZ], [blockDimX, blockDimY, blockDimZ]);
        let stream = stream::resolve(hStream);
        plain(f, grid, block, sharedMemBytes, stream, LAUNCH_COOPERATIVE, kernelParams, core::ptr::null())
    }

    /// CUDA Driver API, cuLaunchCooperativeKernel with the per-thread default stream.
    extern "C" fn cuLaunchCooperativeKernel_ptsz(
        f: u64, gridDimX: u32, gridDimY: u32, gridDimZ: u32, blockDimX: u32, blockDimY: u32, blockDimZ: u32,
        sharedMemBytes: u32, hStream: u64, kernelParams: *const *const c_void,
    ) {
        let (grid, block) = ([gridDimX, gridDimY, gridDimZ], [blockDimX, blockDimY, blockDimZ]);
        let stream = stream::resolve_per_thread(hStream);
        plain(f, grid, block, sharedMemBytes, stream, LAUNCH_COOPERATIVE, kernelParams, core::ptr::null())
    }

    /// CUDA Driver API, cuLaunchCooperativeKernelMultiDevice: each part is of a device of its own, and a process has one.
    extern "C" fn cuLaunchCooperativeKernelMultiDevice(
        launchParamsList: In<LaunchParams>, numDevices: u32, flags: u32,
    ) {
        caller::enter()?;
        if numDevices != 1 || flags & !MULTI_DEVICE_FLAGS != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let part = launchParamsList.get()?;
        let stream = handles::of_kind(kind::CUstream, part.stream).map_err(|_| CUDA_ERROR_INVALID_HANDLE)?;
        if stream.is_null() {
            return Err(CUDA_ERROR_INVALID_HANDLE);
        }
        let LaunchParams { function, grid, block, shared, parameters, .. } = part;
        plain(function, grid, block, shared, Ok(stream), LAUNCH_COOPERATIVE, parameters, core::ptr::null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::tests::layout;

    fn limits() -> Limits {
        Limits { grid: [i32::MAX as u32, 65535, 65535], block: [1024, 1024, 64], threads: 1024, registers: 65536 }
    }

    fn described(grid: [u32; 3], block: [u32; 3], shared: u32) -> Launch {
        let (stream, flags) = (Handle(0), 0);
        Launch { function: 0, grid, block, shared, stream, flags, attributes: NO_ATTRIBUTES, attribute_count: 0 }
    }

    /// Each answer was taken from the native driver.
    #[test]
    fn check_when_the_configuration_is_wrong_then_has_the_native_code() {
        let layout = layout(&[(0, 1024), (4, 10), (8, 49152)], &[]);
        let answer = |grid, block, shared| check(&described(grid, block, shared), &layout, &limits());
        let one = [1, 1, 1];
        assert_eq!(answer(one, one, 49152), Ok(()));
        let wrong = [
            ([0, 1, 1], one, 0),
            ([1, 1, 0], one, 0),
            ([1 << 31, 1, 1], one, 0),
            ([1, 65536, 1], one, 0),
            (one, [0, 1, 1], 0),
            (one, [1025, 1, 1], 0),
            (one, [32, 64, 1], 0),
            (one, [1, 1, 65], 0),
            (one, one, 49153),
        ];
        for (grid, block, shared) in wrong {
            assert_eq!(answer(grid, block, shared), Err(CUDA_ERROR_INVALID_VALUE), "{grid:?} {block:?} {shared}");
        }
    }

    #[test]
    fn check_when_a_block_is_too_large_for_the_function_then_says_why() {
        let bounded = layout(&[(0, 256), (4, 8)], &[]);
        let hungry = layout(&[(0, 256), (4, 255)], &[]);
        let launch = described([1, 1, 1], [257, 1, 1], 0);
        assert_eq!(check(&launch, &bounded, &limits()), Err(CUDA_ERROR_INVALID_VALUE));
        let launch = described([1, 1, 1], [512, 1, 1], 0);
        assert_eq!(check(&launch, &hungry, &limits()), Err(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES));
    }

    #[test]
    fn parameters_when_missing_or_given_twice_then_are_refused() {
        let layout = layout(&[], &[(0, 8), (8, 4)]);
        let (first, second) = (7u64, 9u32);
        let each = [(&raw const first).cast(), (&raw const second).cast::<c_void>()];
        let (buffer, bytes) = ([0u8; 12], 12usize);
        let extra = [1, buffer.as_ptr() as usize, 2, &raw const bytes as usize, 0];
        let null = core::ptr::null();
        assert!(matches!(parameters(each.as_ptr(), core::ptr::null(), &layout), Ok(Parameters::Each(_))));
        assert!(matches!(parameters(null, extra.as_ptr(), &layout), Ok(Parameters::Packed(_, 12))));
        assert!(parameters(null, core::ptr::null(), &layout).is_err());
        assert!(parameters(each.as_ptr(), extra.as_ptr(), &layout).is_err());
        let more = 13usize;
        let extra = [1, buffer.as_ptr() as usize, 2, &raw const more as usize, 0];
        let refused = parameters(null, extra.as_ptr(), &layout);
        assert!(matches!(refused, Err(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)));
        let holes = [each[0], core::ptr::null()];
        assert!(parameters(holes.as_ptr(), core::ptr::null(), &layout).is_err());
    }

    #[test]
    fn encode_when_given_pointers_then_packs_by_the_layout() {
        let layout = layout(&[], &[(0, 8), (8, 1), (12, 4)]);
        let (first, second, third) = (0x0807_0605_0403_0201u64, 9u8, 0x0d0c_0b0au32);
        let each: [*const c_void; 3] =
            [(&raw const first).cast(), (&raw const second).cast(), (&raw const third).cast()];
        let mut memory = [0xee; 128];
        let mut writer = Writer::new(&mut memory);
        let launch = described([1, 2, 3], [4, 5, 6], 7);
        encode(&mut writer, Handle(42), &launch, &layout, Parameters::Each(each.as_ptr())).expect("room");
        let bytes = writer.len();
        let mut reader = rt::Reader::new(&memory[..bytes]);
        assert_eq!((reader.u64(), reader.u64()), (Ok(42), Ok(0)));
        for expected in [1, 2, 3, 4, 5, 6, 7, 0, 0, 16] {
            assert_eq!(reader.u32(), Ok(expected));
        }
        assert_eq!(reader.space(16, 16), Ok(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 10, 11, 12, 13][..]));
        assert_eq!(reader.end(), Ok(()));
    }
}
