//! Physical memory and pools that other processes of the guest can have, as file descriptors ([`crate::descriptor`]). Handles of a
//! fabric reach other machines: those are not carried, and the device's attribute says so.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::descriptor::{self, Held, MEMORY, POOL, Token};
use crate::generated::{CUmemAllocationProp, kind, send};
use crate::handles::{self, Handle};
use crate::ipc::IpcHandle;
use crate::physical;
use crate::program::{In, Out};
use crate::ranges::{self, Kind, Range};
use crate::status::CUDA_ERROR_INVALID_VALUE;
use core::ffi::c_void;
use std::os::fd::RawFd;

/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`.
const DESCRIPTOR: u32 = 1;
/// The other types that the API names: Windows' two, and a fabric's.
const OTHERS: u32 = 2 | 4 | 8;

fn check(handle_type: u32, flags: u64) -> Result<(), CUresult> {
    if flags == 0 && handle_type == DESCRIPTOR { Ok(()) } else { Err(CUDA_ERROR_INVALID_VALUE) }
}

/// Gives out a descriptor for what the worker has given a token, of so many bytes.
fn give(
    out: Out<RawFd>,
    mark: u64,
    bytes: u64,
    ask: impl FnOnce(&Caller, &mut Token) -> CUresult,
) -> Result<(), CUresult> {
    let caller = caller::enter()?;
    descriptor::sweep(&caller);
    let mut token = (0, 0);
    caller::answer(ask(&caller, &mut token))?;
    let made = descriptor::make(mark, Held { token, bytes }).inspect_err(|_| {
        // A session that is gone holds nothing.
        let _ = send::gpuferryExportEnd(&caller, token.0, token.1);
    })?;
    out.set(made)
}

/// The descriptor in an argument that is a pointer by its type.
fn descriptor_in(argument: *mut c_void, mark: u64) -> Result<Held, CUresult> {
    descriptor::read(argument as usize as RawFd, mark)
}

/// Physical memory that lies in a descriptor.
pub fn import(caller: &Caller, Held { token: (low, high), bytes }: Held) -> Result<Handle, CUresult> {
    let made =
        handles::made(kind::CUmemGenericAllocationHandle, |made| send::gpuferryMemImport(caller, made, low, high))?;
    physical::note(made, bytes);
    Ok(made)
}

crate::export! {
    /// CUDA Driver API, cuMemCreate.
    extern "C" fn cuMemCreate(handle: Out<u64>, size: usize, prop: In<CUmemAllocationProp>, flags: u64) {
        let caller = caller::enter()?;
        handle.check()?;
        let prop = prop.get()?;
        if prop.requestedHandleTypes & !(DESCRIPTOR | OTHERS) != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        descriptor::sweep(&caller);
        let made = handles::made(kind::CUmemGenericAllocationHandle, |made| send::cuMemCreate(&caller, made, size, &prop, flags))?;
        physical::note(made, size as u64);
        handle.set(made.0)
    }

    /// CUDA Driver API, cuMemExportToShareableHandle.
    extern "C" fn cuMemExportToShareableHandle(
        shareableHandle: Out<RawFd>, handle: u64, handleType: u32, flags: u64,
    ) {
        caller::enter()?;
        shareableHandle.check()?;
        let handle = handles::of_kind(kind::CUmemGenericAllocationHandle, handle)?;
        check(handleType, flags)?;
        give(shareableHandle, MEMORY, physical::bytes(handle), |caller, (low, high)| send::gpuferryMemExport(caller, low, high, handle))
    }

    /// CUDA Driver API, cuMemImportFromShareableHandle.
    extern "C" fn cuMemImportFromShareableHandle(handle: Out<u64>, osHandle: *mut c_void, shHandleType: u32) {
        let caller = caller::enter()?;
        handle.check()?;
        check(shHandleType, 0)?;
        handle.set(import(&caller, descriptor_in(osHandle, MEMORY)?)?.0)
    }

    /// CUDA Driver API, cuMemPoolExportToShareableHandle.
    extern "C" fn cuMemPoolExportToShareableHandle(
        handle_out: Out<RawFd>, pool: u64, handleType: u32, flags: u64,
    ) {
        caller::enter()?;
        handle_out.check()?;
        let pool = handles::of_kind(kind::CUmemoryPool, pool)?;
        check(handleType, flags)?;
        give(handle_out, POOL, 0, |caller, (low, high)| send::gpuferryMemPoolExport(caller, low, high, pool))
    }

    /// CUDA Driver API, cuMemPoolImportFromShareableHandle.
    extern "C" fn cuMemPoolImportFromShareableHandle(
        pool_out: Out<u64>, handle: *mut c_void, handleType: u32, flags: u64,
    ) {
        let caller = caller::enter()?;
        pool_out.check()?;
        check(handleType, flags)?;
        let (low, high) = descriptor_in(handle, POOL)?.token;
        let made = handles::made(kind::CUmemoryPool, |made| send::gpuferryMemPoolImport(&caller, made, low, high))?;
        pool_out.set(made.0)
    }

    /// CUDA Driver API, cuMemPoolExportPointer.
    extern "C" fn cuMemPoolExportPointer(shareData_out: Out<IpcHandle>, ptr: u64) {
        let caller = caller::enter()?;
        shareData_out.check()?;
        let (mut low, mut high) = (0, 0);
        caller::answer(send::gpuferryMemPoolExportPointer(&caller, &mut low, &mut high, ptr))?;
        shareData_out.set(IpcHandle::of_pool(low, high))
    }

    /// CUDA Driver API, cuMemPoolImportPointer.
    extern "C" fn cuMemPoolImportPointer(ptr_out: Out<u64>, pool: u64, shareData: In<IpcHandle>) {
        let caller = caller::enter_context()?;
        ptr_out.check()?;
        let pool = handles::of_kind(kind::CUmemoryPool, pool)?;
        let (low, high) = shareData.get()?.in_pool()?;
        let (mut address, mut bytes) = (0, 0);
        caller::answer(send::gpuferryMemPoolImportPointer(&caller, &mut address, &mut bytes, pool, low, high))?;
        ranges::insert(Range::new(address, bytes, Kind::Device, 0));
        ptr_out.set(address)
    }
}
