//! CUDA IPC: device memory of another process of this host, by a handle of 64 bytes.
//!
//! A handle names the process, its memory file and the place of an allocation there. Opening one maps those pages of the
//! other's file into a reservation here; the kernel decides by its rules for /proc whether this process may. The
//! allocation's granules are open to kernels, its neighbours on the same pages are not.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use crate::arena::{Kind, NOBODY, Owner, Reach};
use crate::context;
use crate::driver;
use crate::engine::GRANULE_BYTES;
use crate::status::{Answer, Status};
use crate::work::lock;

/// CUipcMemHandle; a structure, because C passes it by value.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpcHandle {
    /// Mark, process, descriptor, offset, bytes, number of the allocation, and zeroes.
    pub words: [u64; 8],
}

const MAGIC: u64 = u64::from_le_bytes(*b"cpu-cuda");
const PAGE: u64 = 4096;

/// Mappings of others' memory: pointer to reservation and count of opens.
static OPEN: Mutex<BTreeMap<u64, Opened>> = Mutex::new(BTreeMap::new());

struct Opened {
    handle: IpcHandle,
    reservation: u64,
    pages: u64,
    times: u32,
}

/// cuIpcGetMemHandle: for memory from cuMemAlloc.
pub fn handle_of(address: u64) -> Answer<IpcHandle> {
    let arena = driver::arena()?;
    let found = arena.find(address).filter(|found| found.kind == Kind::Device).ok_or(Status::INVALID_VALUE)?;
    let file = u64::try_from(arena.file()).map_err(|_| Status::UNKNOWN)?;
    let offset = found.base - arena.base();
    Ok(IpcHandle { words: [MAGIC, u64::from(std::process::id()), file, offset, found.size, found.id, 0, 0] })
}

/// cuIpcOpenMemHandle: the pointer here. Opened again, it is the same one.
pub fn open(handle: IpcHandle) -> Answer<u64> {
    let [magic, process, file, offset, size, ..] = handle.words;
    if magic != MAGIC || size == 0 || !offset.is_multiple_of(GRANULE_BYTES) {
        return Err(Status::INVALID_VALUE);
    }
    if process == u64::from(std::process::id()) {
        // As on a GPU: a process does not open its own.
        return Err(Status::INVALID_CONTEXT);
    }
    let mut all = lock(&OPEN);
    if let Some((address, opened)) = all.iter_mut().find(|(_, opened)| opened.handle == handle) {
        opened.times += 1;
        return Ok(*address);
    }
    let end = offset.checked_add(size).ok_or(Status::INVALID_VALUE)?;
    let file = File::options().read(true).write(true).open(format!("/proc/{process}/fd/{file}"));
    let file = file.map_err(|error| {
        log::warn!("memory of process {process} cannot be opened: {error}");
        Status::MAP_FAILED
    })?;
    let length = file.metadata().map_err(|_| Status::MAP_FAILED)?.len();
    let first = offset / PAGE * PAGE;
    let pages = end.checked_next_multiple_of(PAGE).filter(|end| *end <= length).ok_or(Status::INVALID_VALUE)? - first;
    // As a GPU's driver says, it is where it was opened.
    let owner = Owner { device: context::usable()?.device, ..NOBODY };
    let arena = driver::arena()?;
    let reservation = arena.allocate_aligned(pages, PAGE, Kind::Reserved, owner)?;
    if let Err(status) = arena.map_file(reservation, pages, file.as_raw_fd(), first) {
        let _ = arena.free(reservation, |_| true);
        return Err(status);
    }
    let address = reservation + (offset - first);
    arena.mark_mapped(address, size, Reach::MAX);
    all.insert(address, Opened { handle, reservation, pages, times: 1 });
    Ok(address)
}

/// cuIpcCloseMemHandle: unmaps it with the last close.
pub fn close(address: u64) -> Answer {
    let mut all = lock(&OPEN);
    let opened = all.get_mut(&address).ok_or(Status::INVALID_VALUE)?;
    opened.times -= 1;
    if opened.times > 0 {
        return Ok(());
    }
    if let Some(opened) = all.remove(&address) {
        let arena = driver::arena()?;
        arena.mark_mapped(opened.reservation, opened.pages, 0);
        arena.unmap(opened.reservation, opened.pages)?;
        arena.free(opened.reservation, |_| true)?;
    }
    Ok(())
}
