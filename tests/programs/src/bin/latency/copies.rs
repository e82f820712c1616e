//! Copies and memory.

use std::ffi::c_void;

use programs::must;

use crate::lab::Lab;

/// Sizes of blocking copies of pageable memory.
const SIZES: [(&str, usize); 4] = [("64_b", 64), ("4_kib", 4096), ("64_kib", 65_536), ("1_mib", 1 << 20)];

impl Lab<'_> {
    fn up(&self, from: *const c_void, bytes: usize) -> Result<(), String> {
        must!(self.cuda, cuMemcpyHtoDAsync_v2(self.memory, from, bytes, self.stream))?;
        self.synchronise()
    }

    fn down(&self, to: *mut c_void, bytes: usize) -> Result<(), String> {
        must!(self.cuda, cuMemcpyDtoHAsync_v2(to, self.memory, bytes, self.stream))?;
        self.synchronise()
    }

    /// Copies of one size each, one after the other.
    pub fn small_copies(&mut self) -> Result<(), String> {
        for (name, bytes) in SIZES {
            let mut host = vec![1u8; bytes];
            let (from, to) = (host.as_ptr().cast::<c_void>(), host.as_mut_ptr().cast::<c_void>());
            self.single(&format!("to_device_{name}"), |lab| must!(lab.cuda, cuMemcpyHtoD_v2(lab.memory, from, bytes)))?;
            self.single(&format!("to_host_{name}"), |lab| must!(lab.cuda, cuMemcpyDtoH_v2(to, lab.memory, bytes)))?;
        }
        let host = vec![1u8; 1024];
        let from = host.as_ptr().cast::<c_void>();
        self.rate("copies_1_kib_per_s", |lab| must!(lab.cuda, cuMemcpyHtoDAsync_v2(lab.memory, from, 1024, lab.stream)))
    }

    /// Copies of pageable and of page-locked memory, in streams, up to `most` bytes.
    pub fn bandwidths(&mut self, most: usize) -> Result<(), String> {
        let mut pageable = vec![1u8; most];
        let mut locked = std::ptr::null_mut();
        must!(self.cuda, cuMemHostAlloc(&mut locked, most, 0))?;
        for (kind, at) in [("pageable", pageable.as_mut_ptr().cast::<c_void>()), ("page_locked", locked)] {
            for (name, bytes) in [("256_kib", 256 << 10), ("4_mib", 4 << 20), ("32_mib", 32 << 20), ("", most)] {
                if bytes > most {
                    continue;
                }
                let size = if name.is_empty() { String::new() } else { format!("{name}_") };
                self.bandwidth(&format!("{kind}_to_device_{size}gib_s"), bytes, |lab| lab.up(at, bytes))?;
                self.bandwidth(&format!("{kind}_to_host_{size}gib_s"), bytes, |lab| lab.down(at, bytes))?;
            }
        }
        must!(self.cuda, cuMemFreeHost(locked))
    }

    /// Memory that comes and goes.
    pub fn allocations(&mut self) -> Result<(), String> {
        self.single("allocate_and_free_2_mib", |lab| {
            let mut memory = 0;
            must!(lab.cuda, cuMemAlloc_v2(&mut memory, 2 << 20))?;
            must!(lab.cuda, cuMemFree_v2(memory))
        })?;
        for (name, bytes) in [("4_kib", 4096), ("64_kib", 65_536), ("16_mib", 16 << 20)] {
            self.single(&format!("page_lock_and_free_{name}"), |lab| {
                let mut memory = std::ptr::null_mut();
                must!(lab.cuda, cuMemHostAlloc(&mut memory, bytes, 0))?;
                must!(lab.cuda, cuMemFreeHost(memory))
            })?;
        }
        Ok(())
    }
}
