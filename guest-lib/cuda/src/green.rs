//! Green contexts: parts of a device's multiprocessors. A resource is the program's, 144 bytes in which we keep the worker's
//! number of the driver's own; a green context has its context from the beginning ([`crate::context`]), which ends with it.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::context::{self, Context};
use crate::generated::{Kind, kind, send};
use crate::handles::{self, Facts, Handle};
use crate::program::{In, Out};
use crate::status::{CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_RESOURCE_TYPE, CUDA_ERROR_INVALID_VALUE};
use crate::stream;
use std::sync::atomic::Ordering;

/// `CU_DEV_RESOURCE_TYPE_SM`.
const MULTIPROCESSORS: u32 = 1;
/// `CU_GREEN_CTX_DEFAULT_STREAM`, without which none is made.
const DEFAULT_STREAM: u32 = 1;
/// `CU_STREAM_NON_BLOCKING`, without which no stream is made.
const NON_BLOCKING: u32 = 1;
/// Most groups of one split, and resources of one description.
const MOST: u32 = 64;
/// First word of our own in a resource.
const MARK: u64 = u64::from_le_bytes(*b"gpuferrR");

/// `CUdevResource`: its type, 92 bytes for the driver, and what it has.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DevResource {
    kind: u32,
    padding: u32,
    mark: u64,
    number: u64,
    rest: [u64; 9],
    multiprocessors: u32,
    more: [u32; 11],
}

const _: () = assert!(size_of::<DevResource>() == 144 && core::mem::offset_of!(DevResource, multiprocessors) == 96);

impl DevResource {
    fn new(number: u64, multiprocessors: u32) -> DevResource {
        let (kind, mark) = (MULTIPROCESSORS, MARK);
        DevResource { kind, padding: 0, mark, number, rest: [0; 9], multiprocessors, more: [0; 11] }
    }

    /// The worker's number of it.
    fn number(&self) -> Result<u64, CUresult> {
        match (self.kind, self.mark) {
            (MULTIPROCESSORS, MARK) => Ok(self.number),
            _ => Err(CUDA_ERROR_INVALID_RESOURCE_TYPE),
        }
    }
}

/// What is known of a green context: itself as a context.
struct Green(&'static Context);

// SAFETY: facts of green contexts, and nothing else has this kind.
unsafe impl Facts for Green {
    const KIND: Kind = kind::CUgreenCtx;
}

fn green(raw: u64) -> Result<(Handle, &'static Context), CUresult> {
    let handle = handles::of_kind(kind::CUgreenCtx, raw)?;
    Ok((handle, handles::facts::<Green>(handle).ok_or(CUDA_ERROR_INVALID_CONTEXT)?.0))
}

fn resource_of(of: Handle, device: i32, out: Out<DevResource>, resource_type: u32) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    out.check()?;
    if resource_type != MULTIPROCESSORS {
        return Err(CUDA_ERROR_INVALID_RESOURCE_TYPE);
    }
    let (mut number, mut count) = (0, 0);
    caller::answer(send::gpuferryDevResource(&caller, of, device, resource_type, &mut number, &mut count))?;
    out.set(DevResource::new(number, count))
}

/// The resources of a list that the worker has made: number and multiprocessors of each.
fn read(list: &[u8]) -> Vec<DevResource> {
    let words: Vec<u64> = list.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    words.as_chunks().0.iter().map(|[number, count]| DevResource::new(*number, *count as u32)).collect()
}

/// Makes the context that a green context is.
fn convert(caller: &Caller, green: Handle, device: i32) -> Result<(), CUresult> {
    let context = context::make(device, 0, false)?;
    if let Err(status) = caller::answer(send::cuCtxFromGreenCtx(caller, context.handle, green)) {
        handles::discard(context.handle);
        return Err(status);
    }
    context.be_green(green);
    handles::set_facts(green, Green(context)).map(|_| ()).ok_or(CUDA_ERROR_INVALID_CONTEXT)
}

/// The green context that a stream is of; null for none.
pub fn of_stream(stream: Handle) -> Handle {
    handles::facts::<Context>(handles::owner(stream)).map_or(Handle::NULL, Context::green)
}

crate::export! {
    /// CUDA Driver API, cuDeviceGetDevResource.
    extern "C" fn cuDeviceGetDevResource(device: i32, resource: Out<DevResource>, r#type: u32) {
        caller::session()?;
        crate::device::get(device)?;
        resource_of(Handle::NULL, device, resource, r#type)
    }

    /// CUDA Driver API, cuCtxGetDevResource.
    extern "C" fn cuCtxGetDevResource(hCtx: u64, resource: Out<DevResource>, r#type: u32) {
        caller::session()?;
        resource_of(context::resolve(hCtx)?.handle, 0, resource, r#type)
    }

    /// CUDA Driver API, cuGreenCtxGetDevResource.
    extern "C" fn cuGreenCtxGetDevResource(hCtx: u64, resource: Out<DevResource>, r#type: u32) {
        caller::session()?;
        resource_of(green(hCtx)?.0, 0, resource, r#type)
    }

    /// CUDA Driver API, cuDevSmResourceSplitByCount: with no place for groups, how many there would be.
    extern "C" fn cuDevSmResourceSplitByCount(
        result: Out<DevResource>, nbGroups: Out<u32>, input: In<DevResource>, remaining: Out<DevResource>,
        useFlags: u32, minCount: u32,
    ) {
        let caller = caller::enter()?;
        nbGroups.check()?;
        let resource = input.get()?.number()?;
        let room = nbGroups.get()?;
        if !result.0.is_null() && room == 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let (mut number, mut list) = (0, Vec::new());
        let groups = if result.0.is_null() { 0 } else { room.min(MOST) };
        caller::answer(send::gpuferrySplitResource(
            &caller, resource, groups, useFlags, minCount, &mut number, &mut list,
        ))?;
        if let Some((rest, groups)) = read(&list).split_last() {
            for (place, group) in groups.iter().take(room as usize).enumerate() {
                result.at(place).set(*group)?;
            }
            remaining.set_if_wanted(*rest);
        }
        nbGroups.set(number)
    }

    /// CUDA Driver API, cuDevResourceGenerateDesc.
    extern "C" fn cuDevResourceGenerateDesc(phDesc: Out<u64>, resources: In<DevResource>, nbResources: u32) {
        let caller = caller::enter()?;
        phDesc.check()?;
        if nbResources == 0 || nbResources > MOST {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let mut numbers = Vec::new();
        for place in 0..nbResources as usize {
            numbers.extend(resources.at(place)?.number()?.to_le_bytes());
        }
        let made = handles::made(kind::CUdevResourceDesc, |made| send::gpuferryResourceDescription(&caller, made, &numbers))?;
        phDesc.set(made.0)
    }

    /// CUDA Driver API, cuGreenCtxCreate.
    extern "C" fn cuGreenCtxCreate(phCtx: Out<u64>, desc: u64, dev: i32, flags: u32) {
        let caller = caller::enter()?;
        phCtx.check()?;
        if flags != DEFAULT_STREAM {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        crate::device::get(dev)?;
        let desc = handles::of_kind(kind::CUdevResourceDesc, desc)?;
        let made = handles::made(kind::CUgreenCtx, |made| send::cuGreenCtxCreate(&caller, made, desc, dev, flags))?;
        if let Err(status) = convert(&caller, made, dev) {
            // The reason is the one to report.
            let _ = send::gpuferryGreenCtxDestroy(&caller, made);
            handles::discard(made);
            return Err(status);
        }
        phCtx.set(made.0)
    }

    /// CUDA Driver API, cuGreenCtxDestroy.
    extern "C" fn cuGreenCtxDestroy(hCtx: u64) {
        let caller = caller::enter()?;
        let (green, own) = green(hCtx)?;
        context::end_use(&caller, own);
        let status = send::gpuferryGreenCtxDestroy(&caller, green);
        context::end_objects(own);
        for handle in [own.handle, green] {
            if status == 0 {
                handles::discard(handle);
            } else {
                handles::abandon(handle);
            }
        }
        caller::answer(status)
    }

    /// CUDA Driver API, cuCtxFromGreenCtx.
    extern "C" fn cuCtxFromGreenCtx(pContext: Out<u64>, hCtx: u64) {
        caller::session()?;
        pContext.check()?;
        pContext.set(green(hCtx)?.1.handle.0)
    }

    /// CUDA Driver API, cuGreenCtxGetId.
    extern "C" fn cuGreenCtxGetId(greenCtx: u64, greenCtxId: Out<u64>) {
        caller::session()?;
        greenCtxId.check()?;
        greenCtxId.set(green(greenCtx)?.1.id)
    }

    /// CUDA Driver API, cuGreenCtxStreamCreate.
    extern "C" fn cuGreenCtxStreamCreate(phStream: Out<u64>, greenCtx: u64, flags: u32, priority: i32) {
        let mut caller = caller::enter()?;
        phStream.check()?;
        let (green, own) = green(greenCtx)?;
        if flags != NON_BLOCKING {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        if !own.active.load(Ordering::Relaxed) {
            return Err(CUDA_ERROR_INVALID_CONTEXT);
        }
        caller.origin.context = own.handle.index() + 1;
        caller.origin.context_generation = own.handle.generation();
        let made = handles::make(kind::CUstream, own.handle)?;
        if let Err(status) = caller::answer(send::cuGreenCtxStreamCreate(&caller, made, green, flags, priority)) {
            handles::discard(made);
            return Err(status);
        }
        phStream.set(made.0)
    }

    /// CUDA Driver API, cuStreamGetGreenCtx: null for a stream of no green context.
    extern "C" fn cuStreamGetGreenCtx(hStream: u64, phCtx: Out<u64>) {
        caller::session()?;
        phCtx.check()?;
        let stream = stream::resolve(hStream)?;
        phCtx.set(if stream.0 <= 1 { context::current_context()?.green() } else { of_stream(stream) }.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_when_a_resource_is_not_ours_then_is_refused() {
        let resource = DevResource::new(7, 132);
        assert_eq!(resource.number(), Ok(7));
        for wrong in [DevResource { mark: 0, ..resource }, DevResource { kind: 2, ..resource }] {
            assert_eq!(wrong.number(), Err(CUDA_ERROR_INVALID_RESOURCE_TYPE));
        }
        let list = [7u64, 16, 9, 100].map(u64::to_le_bytes).concat();
        assert_eq!(
            read(&list).iter().map(|one| (one.number, one.multiprocessors)).collect::<Vec<_>>(),
            [(7, 16), (9, 100)]
        );
    }
}
