//! A context for tests: an arena in ordinary memory, and shorthands to launch.
#![allow(dead_code, missing_docs, clippy::unwrap_used)] // each test file uses a part of it; a failure here is the test's

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use cpu_cuda::engine::*;

const ARENA_BYTES: usize = 64 << 20;

pub struct Host {
    base: u64,
    map: *mut u8,
    next: Mutex<u64>,
    pub printed: Mutex<Vec<u8>>,
    /// Extra ranges a kernel may use: address, bytes, writable.
    pub ranges: Mutex<Vec<(u64, u64, bool)>>,
}

// SAFETY: the memory is only reached through plain addresses and stays for the process's life.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    pub fn new() -> Host {
        // Zero pages cost nothing until they are touched.
        let memory = Box::leak(vec![0u8; ARENA_BYTES + 4096].into_boxed_slice());
        let base = (memory.as_mut_ptr() as u64).next_multiple_of(4096);
        let map = Box::leak(vec![0u8; ARENA_BYTES / GRANULE_BYTES as usize + 1].into_boxed_slice()).as_mut_ptr();
        Host { base, map, next: Mutex::new(base), printed: Mutex::default(), ranges: Mutex::default() }
    }

    pub fn alloc(&self, bytes: u64) -> u64 {
        let mut next = self.next.lock().unwrap();
        let at = *next;
        let granules = bytes.max(1).div_ceil(GRANULE_BYTES);
        // One granule stays free behind, so that running over is seen.
        *next += (granules + 1) * GRANULE_BYTES;
        assert!(*next < self.base + ARENA_BYTES as u64, "the arena is full");
        for n in 0..granules {
            let index = (at - self.base) / GRANULE_BYTES + n;
            // SAFETY: the index is below the number of granules.
            unsafe { self.map.add(index as usize).write(1) };
        }
        at
    }

    pub fn upload<T: Copy>(&self, data: &[T]) -> u64 {
        let at = self.alloc(size_of_val(data) as u64);
        // SAFETY: the place was just allocated with this size, aligned to 512.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), at as *mut T, data.len()) };
        at
    }

    pub fn download<T: Copy>(&self, at: u64, len: usize) -> Vec<T> {
        // SAFETY: tests read what they allocated.
        unsafe { std::slice::from_raw_parts(at as *const T, len).to_vec() }
    }

    /// Loads a module and gives its variables their places.
    pub fn load(&self, ptx: &str) -> Module {
        match self.try_load(ptx) {
            Ok(module) => module,
            Err(e) => panic!("{e}"),
        }
    }

    pub fn try_load(&self, ptx: &str) -> Result<Module, CompileError> {
        let module = load(ptx.as_bytes(), &Options::default())?;
        self.bind(&module);
        Ok(module)
    }

    pub fn bind(&self, module: &Module) {
        let places: Vec<u64> = module.globals().iter().map(|g| self.alloc(g.size)).collect();
        for (index, info) in module.globals().iter().enumerate() {
            let mut bytes = info.initial.clone();
            bytes.resize(info.size as usize, 0);
            for r in &info.relocations {
                let address = match r.target {
                    Target::Global(n) => places[n],
                    Target::Function(v) => v,
                };
                let value = address.wrapping_add(r.addend as u64) >> r.shift;
                let at = r.offset as usize;
                bytes[at..at + r.size as usize].copy_from_slice(&value.to_le_bytes()[..r.size as usize]);
            }
            // SAFETY: the place has the variable's size.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), places[index] as *mut u8, bytes.len()) };
            module.bind_global(index, places[index]);
        }
    }

    pub fn launch(
        &self,
        module: &Module,
        name: &str,
        grid: [u32; 3],
        block: [u32; 3],
        args: &[Arg],
    ) -> Result<(), Fault> {
        let function = module.function(name).unwrap_or_else(|| panic!("no kernel {name}"));
        let info = &module.functions()[function];
        let mut params = vec![0; info.param_bytes as usize];
        assert_eq!(info.params.len(), args.len(), "parameters of {name}");
        for (param, arg) in info.params.iter().zip(args) {
            let bytes = arg.bytes();
            assert_eq!(bytes.len(), param.size as usize, "parameter {} of {name}", param.name);
            params[param.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        let launch = Launch {
            function,
            grid,
            block,
            cluster: [1; 3],
            dynamic_shared_bytes: 0,
            params: &params,
            cooperative: false,
            stack_bytes: 1024,
            max_workers: 0,
            grid_id: 1,
        };
        run(module, &launch, self, &AtomicBool::new(false))
    }
}

/// A kernel parameter.
#[derive(Clone, Debug)]
pub enum Arg {
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
    Bytes(Vec<u8>),
}

impl Arg {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Arg::U32(v) => v.to_le_bytes().to_vec(),
            Arg::U64(v) => v.to_le_bytes().to_vec(),
            Arg::F32(v) => v.to_le_bytes().to_vec(),
            Arg::F64(v) => v.to_le_bytes().to_vec(),
            Arg::Bytes(v) => v.clone(),
        }
    }
}

impl Memory for Host {
    fn arena(&self) -> Arena {
        Arena { base: self.base, len: ARENA_BYTES as u64, granules: self.map }
    }
    fn host_range(&self, address: u64, len: u64, write: bool) -> bool {
        self.ranges
            .lock()
            .unwrap()
            .iter()
            .any(|&(at, bytes, writable)| address >= at && address + len <= at + bytes && (writable || !write))
    }
    fn texture(&self, fetch: &TextureFetch) -> Option<[u32; 4]> {
        // A texture that tells its coordinates.
        if fetch.handle != 77 {
            return None;
        }
        let xy = match fetch.coordinates {
            Coordinates::Integer([x, y, z]) => [x as u32, y as u32, z as u32],
            Coordinates::Float([x, y, z]) => [x.to_bits(), y.to_bits(), z.to_bits()],
        };
        Some([xy[0], xy[1], xy[2], fetch.layer])
    }
    fn texture_query(&self, handle: u64, query: TextureQuery) -> Option<u32> {
        (handle == 77).then_some(match query {
            TextureQuery::Width => 640,
            TextureQuery::Height => 480,
            _ => 1,
        })
    }
    fn surface_query(&self, handle: u64, _query: TextureQuery) -> Option<u32> {
        (handle == 77).then_some(5)
    }
    fn surface_read(&self, access: &SurfaceAccess, bytes: &mut [u8]) -> bool {
        bytes.fill(access.coordinates[0] as u8);
        access.handle == 77
    }
    fn surface_write(&self, access: &SurfaceAccess, bytes: &[u8]) -> bool {
        self.printed.lock().unwrap().extend_from_slice(bytes);
        access.handle == 77
    }
    fn malloc(&self, bytes: u64) -> u64 {
        self.alloc(bytes)
    }
    fn free(&self, _address: u64) -> bool {
        true
    }
    fn print(&self, text: &[u8]) {
        self.printed.lock().unwrap().extend_from_slice(text);
    }
    fn complain(&self, text: &[u8]) {
        self.print(text);
    }
}
