//! Memory of other processes (CUDA IPC).

use crate::context;
use crate::export::cuda;
use crate::foreign::Out;
use crate::sharing::{self, IpcHandle};
use crate::status::{Answer, Status};

/// CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.
const PEER_ACCESS: u32 = 1;

fn open(out: Out<u64>, handle: IpcHandle, flags: u32) -> Answer {
    out.check()?;
    context::usable()?;
    if flags & !PEER_ACCESS != 0 { Err(Status::INVALID_VALUE) } else { out.set(sharing::open(handle)?) }
}

cuda! {
    fn cuIpcGetMemHandle(out: Out<IpcHandle>, address: u64) {
        out.check()?;
        context::usable()?;
        out.set(sharing::handle_of(address)?)
    }

    fn cuIpcOpenMemHandle(out: Out<u64>, handle: IpcHandle, flags: u32) {
        open(out, handle, flags)
    }

    fn cuIpcOpenMemHandle_v2(out: Out<u64>, handle: IpcHandle, flags: u32) {
        open(out, handle, flags)
    }

    fn cuIpcCloseMemHandle(address: u64) {
        // Work that may use the memory ends first.
        context::usable()?.synchronize()?;
        sharing::close(address)
    }
}
