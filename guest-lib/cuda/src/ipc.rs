//! Memory and events of other processes (CUDA IPC). A handle is a mark of ours and a token, which the worker looks up; it is
//! good in every process of this guest, and in no other guest.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::device;
use crate::generated::{PointerFacts, kind, send};
use crate::handles;
use crate::program::Out;
use crate::progress;
use crate::ranges::{self, Kind, Range};
use crate::status::CUDA_ERROR_INVALID_VALUE;

/// First word of a handle of memory, of an event, and of what tells of an allocation of a pool.
const MEMORY: u64 = u64::from_le_bytes(*b"gpuferrM");
const EVENT: u64 = u64::from_le_bytes(*b"gpuferrE");
const OF_POOL: u64 = u64::from_le_bytes(*b"gpuferrA");
/// `CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS`, the only flag there is.
const LAZY_PEER_ACCESS: u32 = 1;

/// `CUipcMemHandle`, `CUipcEventHandle` and `CUmemPoolPtrExportData`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IpcHandle([u64; 8]);

impl IpcHandle {
    fn new(mark: u64, low: u64, high: u64) -> IpcHandle {
        IpcHandle([mark, low, high, 0, 0, 0, 0, 0])
    }

    /// What tells of an allocation of a pool.
    #[must_use]
    pub fn of_pool(low: u64, high: u64) -> IpcHandle {
        IpcHandle::new(OF_POOL, low, high)
    }

    /// The token of an allocation of a pool.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE`.
    pub fn in_pool(&self) -> Result<(u64, u64), CUresult> {
        self.token(OF_POOL)
    }

    fn token(&self, mark: u64) -> Result<(u64, u64), CUresult> {
        match self.0 {
            [found, low, high, 0, 0, 0, 0, 0] if found == mark => Ok((low, high)),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }
}

/// The device of memory that is not in the guest's list yet.
fn device_of(caller: &Caller, address: u64) -> Option<i32> {
    let mut facts = PointerFacts::default();
    let is_known =
        device::are_several() && send::gpuferryPointerFacts(caller, address, &mut facts) == 0 && facts.status == 0;
    is_known.then_some(facts.deviceOrdinal)
}

fn open_memory(out: Out<u64>, handle: &IpcHandle, flags: u32) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    out.check()?;
    if flags & !LAZY_PEER_ACCESS != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let (low, high) = handle.token(MEMORY)?;
    let (mut address, mut bytes) = (0, 0);
    caller::answer(send::gpuferryIpcOpenMemory(&caller, &mut address, &mut bytes, low, high, flags))?;
    let range = Range::new(address, bytes, Kind::Device, 0);
    ranges::insert(Range { device: device_of(&caller, address).unwrap_or(range.device), ..range });
    out.set(address)
}

crate::export! {
    /// CUDA Driver API, cuIpcGetMemHandle.
    extern "C" fn cuIpcGetMemHandle(pHandle: Out<IpcHandle>, dptr: u64) {
        let caller = caller::enter_context()?;
        pHandle.check()?;
        let (mut low, mut high) = (0, 0);
        caller::answer(send::gpuferryIpcGiveMemory(&caller, &mut low, &mut high, dptr))?;
        pHandle.set(IpcHandle::new(MEMORY, low, high))
    }

    /// CUDA Driver API, cuIpcOpenMemHandle.
    extern "C" fn cuIpcOpenMemHandle_v2 | extern "C" fn cuIpcOpenMemHandle(
        pdptr: Out<u64>, handle: IpcHandle, Flags: u32,
    ) {
        open_memory(pdptr, &handle, Flags)
    }

    /// CUDA Driver API, cuIpcCloseMemHandle.
    extern "C" fn cuIpcCloseMemHandle(dptr: u64) {
        let caller = caller::enter_context()?;
        let mut left = 0;
        caller::answer(send::gpuferryIpcCloseMemory(&caller, dptr, &mut left))?;
        if left == 0 {
            ranges::remove(dptr, &[Kind::Device]);
        }
        Ok(())
    }

    /// CUDA Driver API, cuIpcGetEventHandle.
    extern "C" fn cuIpcGetEventHandle(pHandle: Out<IpcHandle>, event: u64) {
        let caller = caller::enter_context()?;
        pHandle.check()?;
        let event = handles::of_kind(kind::CUevent, event)?;
        progress::event_is_shared(event);
        let (mut low, mut high) = (0, 0);
        caller::answer(send::gpuferryIpcGiveEvent(&caller, &mut low, &mut high, event))?;
        pHandle.set(IpcHandle::new(EVENT, low, high))
    }

    /// CUDA Driver API, cuIpcOpenEventHandle.
    extern "C" fn cuIpcOpenEventHandle(phEvent: Out<u64>, handle: IpcHandle) {
        let caller = caller::enter_context()?;
        phEvent.check()?;
        let (low, high) = handle.token(EVENT)?;
        let event = handles::made(kind::CUevent, |event| send::gpuferryIpcOpenEvent(&caller, event, low, high))?;
        phEvent.set(event.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_when_a_handle_is_of_another_kind_or_wild_then_is_refused() {
        assert_eq!(IpcHandle::new(MEMORY, 1, 2).token(MEMORY), Ok((1, 2)));
        let mut wild = IpcHandle::new(MEMORY, 1, 2);
        wild.0[7] = 1;
        for handle in [IpcHandle::new(EVENT, 1, 2), IpcHandle([0; 8]), IpcHandle([u64::MAX; 8]), wild] {
            assert_eq!(handle.token(MEMORY), Err(CUDA_ERROR_INVALID_VALUE));
        }
    }
}
