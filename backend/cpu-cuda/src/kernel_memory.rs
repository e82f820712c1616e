//! What running kernels see of their context: the engine's view of memory, textures, the heap and printf.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::arena::{Arena, Kind};
use crate::context::Context;
use crate::driver;
use crate::engine::{self, Memory, SurfaceAccess, TextureFetch, TextureQuery};
use crate::host_memory;
use crate::status::Answer;
use crate::surface;
use crate::texture;
use crate::work::lock;

/// CU_LIMIT_MALLOC_HEAP_SIZE.
const HEAP_LIMIT: usize = 2;

/// The memory of one context for one launch.
pub struct KernelMemory {
    arena: &'static Arena,
    context: Arc<Context>,
}

impl KernelMemory {
    /// The memory that kernels of `context` see.
    pub fn new(context: Arc<Context>) -> Answer<KernelMemory> {
        Ok(KernelMemory { arena: driver::arena()?, context })
    }
}

impl Memory for KernelMemory {
    fn arena(&self) -> engine::Arena {
        self.arena.view(self.context.device)
    }

    fn host_range(&self, address: u64, length: u64, write: bool) -> bool {
        host_memory::allows(address, length, write)
    }

    fn texture(&self, fetch: &TextureFetch) -> Option<[u32; 4]> {
        texture::fetch(fetch)
    }

    fn worker_ends(&self) {
        texture::forget_last();
    }

    fn texture_query(&self, handle: u64, query: TextureQuery) -> Option<u32> {
        texture::query(handle, query)
    }

    fn surface_query(&self, handle: u64, query: TextureQuery) -> Option<u32> {
        surface::query(handle, query)
    }

    fn surface_read(&self, access: &SurfaceAccess, bytes: &mut [u8]) -> bool {
        surface::read(access, bytes)
    }

    fn surface_write(&self, access: &SurfaceAccess, bytes: &[u8]) -> bool {
        surface::write(access, bytes)
    }

    fn malloc(&self, bytes: u64) -> u64 {
        let limit = lock(&self.context.limits)[HEAP_LIMIT];
        if bytes == 0 || bytes > limit.saturating_sub(self.context.heap_used.load(Ordering::Relaxed)) {
            return 0;
        }
        let address = self.arena.allocate(bytes, Kind::Heap, self.context.owner()).unwrap_or(0);
        if address != 0 {
            self.context.heap_used.fetch_add(bytes, Ordering::Relaxed);
        }
        address
    }

    fn free(&self, address: u64) -> bool {
        if address == 0 {
            return true;
        }
        let gone = self.arena.free(address, |allocation| allocation.kind == Kind::Heap);
        gone.is_ok_and(|gone| {
            self.context.heap_used.fetch_sub(gone.size, Ordering::Relaxed);
            true
        })
    }

    /// Through C's stdio and flushed, as NVIDIA's library does, so that it keeps its order with what a program prints itself.
    fn print(&self, text: &[u8]) {
        unsafe extern "C" {
            static stdout: *mut libc::FILE;
        }
        // SAFETY: `stdout` is set up before any library is loaded; `text` is a valid range.
        unsafe {
            libc::fwrite(text.as_ptr().cast(), 1, text.len(), stdout);
            libc::fflush(stdout);
        }
    }

    fn complain(&self, text: &[u8]) {
        unsafe extern "C" {
            static stderr: *mut libc::FILE;
        }
        // SAFETY: as above.
        unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), stderr) };
    }
}
