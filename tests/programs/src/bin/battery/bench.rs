//! What the groups work with: the driver, a primary context, the module of `battery.cu`, and how a line is printed.

use std::ffi::{CString, c_void};
use std::fmt::Display;
use std::rc::Rc;

use programs::driver::{CUdevice, CUdeviceptr, CUresult, Driver, Handle};
use programs::{call, must};

/// PTX text of `battery.cu`, with the zero that ends it.
pub const KERNELS: &str = concat!(include_str!("../../../kernels/battery.ptx"), "\0");

/// A driver and what was opened on device 0. `Rc`, because each group names its own copy.
#[derive(Clone)]
pub struct Bench {
    pub cuda: Rc<Driver>,
    pub device: CUdevice,
    pub context: Handle,
    pub module: Handle,
    group: &'static str,
}

/// Prints one line of a group.
pub fn line(group: &str, what: &str, value: impl Display) {
    println!("{group}: {what}: {value}");
}

impl Bench {
    pub fn open(driver: Driver) -> Result<Bench, String> {
        let mut bench = Bench { cuda: Rc::new(driver), device: 0, context: 0, module: 0, group: "" };
        must!(bench.cuda, cuInit(0))?;
        must!(bench.cuda, cuDeviceGet(&mut bench.device, 0))?;
        must!(bench.cuda, cuDevicePrimaryCtxRetain(&mut bench.context, bench.device))?;
        must!(bench.cuda, cuCtxSetCurrent(bench.context))?;
        must!(bench.cuda, cuModuleLoadData(&mut bench.module, KERNELS.as_ptr().cast()))?;
        Ok(bench)
    }

    pub fn close(self) -> Result<(), String> {
        must!(self.cuda, cuModuleUnload(self.module))?;
        must!(self.cuda, cuDevicePrimaryCtxRelease_v2(self.device))
    }

    pub fn named(&self, group: &'static str) -> Bench {
        Bench { group, ..self.clone() }
    }

    /// A line of this group.
    pub fn say(&self, what: &str, value: impl Display) {
        line(self.group, what, value);
    }

    /// A line about this device; it may differ on another one.
    pub fn fact(&self, what: &str, value: impl Display) {
        line("device", &format!("{} {what}", self.group), value);
    }

    /// A line with an answer of the API.
    pub fn code(&self, what: &str, status: CUresult) {
        self.say(what, self.cuda.name_of(status));
    }

    pub fn function(&self, name: &str) -> Result<Handle, String> {
        let mut function = 0;
        let text = CString::new(name).map_err(|error| error.to_string())?;
        must!(self.cuda, cuModuleGetFunction(&mut function, self.module, text.as_ptr()))?;
        Ok(function)
    }

    pub fn allocate(&self, bytes: usize) -> Result<CUdeviceptr, String> {
        let mut memory = 0;
        must!(self.cuda, cuMemAlloc_v2(&mut memory, bytes))?;
        Ok(memory)
    }

    pub fn free(&self, memory: CUdeviceptr) -> Result<(), String> {
        must!(self.cuda, cuMemFree_v2(memory))
    }

    /// Copies values to the device.
    pub fn put<T: Copy>(&self, to: CUdeviceptr, values: &[T]) -> Result<(), String> {
        must!(self.cuda, cuMemcpyHtoD_v2(to, values.as_ptr().cast(), size_of_val(values)))
    }

    /// Copies `count` values from the device.
    pub fn get<T: Copy + Default>(&self, from: CUdeviceptr, count: usize) -> Result<Vec<T>, String> {
        let mut values = vec![T::default(); count];
        must!(self.cuda, cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), from, size_of_val(&values[..])))?;
        Ok(values)
    }

    /// cuLaunchKernel with `kernelParams`.
    pub fn launch(
        &self,
        function: Handle,
        grid: [u32; 3],
        block: [u32; 3],
        on: On,
        parameters: &[*const c_void],
    ) -> CUresult {
        let mut places: Vec<*mut c_void> = parameters.iter().map(|place| place.cast_mut()).collect();
        let ([gx, gy, gz], [bx, by, bz]) = (grid, block);
        let none = std::ptr::null_mut();
        let places = if places.is_empty() { none } else { places.as_mut_ptr() };
        call!(self.cuda, cuLaunchKernel(function, gx, gy, gz, bx, by, bz, on.shared, on.stream, places, none.cast()))
    }

    /// Launches `fill` over `count` words.
    pub fn fill(&self, to: CUdeviceptr, count: u32, scale: u32, offset: u32, stream: Handle) -> Result<(), String> {
        let function = self.function("fill")?;
        let parameters = [place(&to), place(&count), place(&scale), place(&offset)];
        let on = On { shared: 0, stream };
        let status = self.launch(function, [count.div_ceil(256), 1, 1], [256, 1, 1], on, &parameters);
        if status == 0 { Ok(()) } else { Err(format!("fill: {}", self.cuda.name_of(status))) }
    }

    /// Keeps `stream` busy for some tenths of a second; `scratch` is one word.
    pub fn busy(&self, scratch: CUdeviceptr, stream: Handle) -> Result<(), String> {
        let function = self.function("busy")?;
        let rounds = 60_000_000u32;
        let status =
            self.launch(function, [1, 1, 1], [1, 1, 1], On { shared: 0, stream }, &[place(&scratch), place(&rounds)]);
        if status == 0 { Ok(()) } else { Err(format!("busy: {}", self.cuda.name_of(status))) }
    }
}

/// Where a launch runs: dynamic shared memory in bytes, and the stream.
#[derive(Clone, Copy, Default)]
pub struct On {
    pub shared: u32,
    pub stream: Handle,
}

/// A parameter's place, for `kernelParams`.
pub fn place<T>(value: &T) -> *const c_void {
    std::ptr::from_ref(value).cast()
}

/// FNV-1a over words.
pub fn checksum(words: &[u32]) -> String {
    let hash = words.iter().flat_map(|word| word.to_le_bytes());
    let hash = hash.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// The words that the host fills a buffer with: no two alike, no pattern that a shift would repeat.
pub fn pattern(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i.wrapping_mul(0x9e37_79b1) ^ (i >> 7)).collect()
}
