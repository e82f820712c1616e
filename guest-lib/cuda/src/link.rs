//! Linking (cuLink…): inputs travel to the worker, the image is linked there and fetched when it is complete.

use crate::CUresult;
use crate::caller;
use crate::generated::{Kind, kind, send};
use crate::handles::{self, Facts, Handle};
use crate::jit::{self, Options};
use crate::program::{In, Out, Text};
use crate::status::{CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY};
use core::ffi::{CStr, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Longest image that is taken from a host.
const MAX_BYTES: u64 = 2 << 30;
/// `CU_JIT_INPUT_PTX`: text, whose end the length may leave out.
const INPUT_PTX: u32 = 1;

/// What the guest knows of a link in progress. The image stays where the program was told, as long as the process lives; with
/// cuLinkDestroy its memory is given back.
pub struct Link {
    options: Mutex<Options>,
    image: OnceLock<Mutex<Vec<u8>>>,
}

// SAFETY: the pointers among the options are the program's, which keeps them good until cuLinkDestroy.
unsafe impl Send for Link {}
// SAFETY: as above; all access is under locks.
unsafe impl Sync for Link {}

// SAFETY: facts of links, and nothing else has this kind.
unsafe impl Facts for Link {
    const KIND: Kind = kind::CUlinkState;
}

fn link(raw: u64) -> Result<(Handle, &'static Link), CUresult> {
    let handle = handles::of_kind(kind::CUlinkState, raw)?;
    Ok((handle, handles::facts(handle).ok_or(CUDA_ERROR_INVALID_HANDLE)?))
}

fn add(state: u64, input: u32, data: &[u8], name: &CStr, options: &Options) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let (handle, link) = link(state)?;
    let (mut info, mut error) = (Vec::new(), Vec::new());
    let send = |buffer: rt::Buffer<'_>| {
        send::gpuferryLinkAdd(&caller, handle, input, buffer, name, &options.bytes, &mut info, &mut error)
    };
    // SAFETY: a slice.
    let status = unsafe { caller::input(&caller, data.as_ptr(), data.len(), send) };
    link.options.lock().unwrap_or_else(PoisonError::into_inner).fill(&info, &error, 0.0);
    caller::answer(status)
}

fn complete(state: u64) -> Result<(*const u8, usize), CUresult> {
    let caller = caller::enter_context()?;
    let (handle, link) = link(state)?;
    let (mut bytes, mut wall_time, mut info, mut error) = (0, 0.0, Vec::new(), Vec::new());
    let status = send::gpuferryLinkComplete(&caller, handle, &mut bytes, &mut wall_time, &mut info, &mut error);
    link.options.lock().unwrap_or_else(PoisonError::into_inner).fill(&info, &error, wall_time);
    caller::answer(status)?;
    if bytes > MAX_BYTES {
        return Err(CUDA_ERROR_OUT_OF_MEMORY);
    }
    let mut image = vec![0; bytes as usize];
    // SAFETY: the memory is this function's own.
    let status = unsafe {
        caller.session.output_parts(image.as_mut_ptr(), image.len(), caller::trouble, |part, offset, memory, _| {
            send::gpuferryLinkRead(&caller, handle, offset as u64, part, memory.unwrap_or(&mut []))
        })
    };
    caller::answer(status)?;
    let kept = link.image.get_or_init(|| Mutex::new(Vec::new()));
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    *kept = image;
    Ok((kept.as_ptr(), kept.len()))
}

crate::export! {
    /// CUDA Driver API, cuLinkCreate.
    extern "C" fn cuLinkCreate_v2 | extern "C" fn cuLinkCreate(
        numOptions: u32, options: In<u32>, optionValues: In<usize>, stateOut: Out<u64>,
    ) {
        let caller = caller::enter_context()?;
        stateOut.check()?;
        let options = Options::read(numOptions, options, optionValues)?;
        let state = handles::made(kind::CUlinkState, |state| send::gpuferryLinkCreate(&caller, state, &options.bytes))?;
        handles::set_facts(state, Link { options: Mutex::new(options), image: OnceLock::new() });
        stateOut.set(state.0)
    }

    /// CUDA Driver API, cuLinkAddData.
    extern "C" fn cuLinkAddData_v2 | extern "C" fn cuLinkAddData(
        state: u64, r#type: u32, data: *const c_void, size: usize, name: Text, numOptions: u32, options: In<u32>,
        optionValues: In<usize>,
    ) {
        if data.is_null() || size == 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let options = Options::read(numOptions, options, optionValues)?;
        // SAFETY: the program's input is as long as it says (CUDA Driver API, cuLinkAddData).
        let data = unsafe { core::slice::from_raw_parts(data.cast::<u8>(), size) };
        let name = if name.0.is_null() { c"" } else { name.get()? };
        if r#type == INPUT_PTX && data.last() != Some(&0) {
            let text = [data, &[0]].concat();
            return add(state, r#type, &text, name, &options);
        }
        add(state, r#type, data, name, &options)
    }

    /// CUDA Driver API, cuLinkAddFile.
    extern "C" fn cuLinkAddFile_v2 | extern "C" fn cuLinkAddFile(
        state: u64, r#type: u32, path: Text, numOptions: u32, options: In<u32>, optionValues: In<usize>,
    ) {
        let options = Options::read(numOptions, options, optionValues)?;
        let path = path.get()?;
        let mut file = jit::read_file(path)?;
        if r#type != INPUT_PTX {
            file.pop();
        }
        add(state, r#type, &file, path, &options)
    }

    /// CUDA Driver API, cuLinkComplete: the image stays until cuLinkDestroy.
    extern "C" fn cuLinkComplete(state: u64, cubinOut: Out<*const c_void>, sizeOut: Out<usize>) {
        cubinOut.check()?;
        sizeOut.check()?;
        let (image, bytes) = complete(state)?;
        sizeOut.set(bytes)?;
        cubinOut.set(image.cast())
    }

    /// CUDA Driver API, cuLinkDestroy.
    extern "C" fn cuLinkDestroy(state: u64) {
        let caller = caller::enter()?;
        let (handle, link) = link(state)?;
        let status = send::gpuferryLinkDestroy(&caller, handle);
        if let Some(image) = link.image.get() {
            *image.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        }
        if status == 0 {
            handles::discard(handle);
        } else {
            handles::abandon(handle);
        }
        caller::answer(status)
    }
}
