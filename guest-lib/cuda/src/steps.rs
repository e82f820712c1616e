//! Launches in steps: a function's block, its shared memory and its parameters are set one by one, and kept with what is
//! known of the function; a launch is then like any other ([`crate::launch`]). Deprecated since CUDA 4.0.

use crate::CUresult;
use crate::caller;
use crate::function;
use crate::handles::Handle;
use crate::launch;
use crate::program;
use crate::status::CUDA_ERROR_INVALID_VALUE;
use crate::stream;
use core::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most bytes of parameters (CUDA Programming Guide, kernel parameters of devices of 7.0 and later).
const MOST_BYTES: usize = 32_764;
/// `CU_LAUNCH_PARAM_BUFFER_POINTER`, `CU_LAUNCH_PARAM_BUFFER_SIZE`, `CU_LAUNCH_PARAM_END`.
const POINTER: usize = 1;
const SIZE: usize = 2;
const END: usize = 0;

/// What was set of a function.
pub struct Steps {
    /// Threads of a block; one before they are set.
    block: [u32; 3],
    shared: u32,
    /// Bytes of parameters that a launch passes.
    bytes: usize,
    parameters: Vec<u8>,
}

impl Default for Steps {
    fn default() -> Steps {
        Steps { block: [1; 3], shared: 0, bytes: 0, parameters: Vec::new() }
    }
}

impl Steps {
    fn set_size(&mut self, bytes: u32) -> Result<(), CUresult> {
        self.bytes =
            usize::try_from(bytes).ok().filter(|bytes| *bytes <= MOST_BYTES).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        Ok(())
    }

    /// The place of a parameter.
    fn place(&mut self, offset: i32, bytes: usize) -> Result<&mut [u8], CUresult> {
        let start = usize::try_from(offset).map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
        let end = start.checked_add(bytes).filter(|end| *end <= MOST_BYTES).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        if self.parameters.len() < end {
            self.parameters.resize(end, 0);
        }
        self.parameters.get_mut(start..end).ok_or(CUDA_ERROR_INVALID_VALUE)
    }
}

/// What was set of a function so far.
fn of(raw: u64) -> Result<MutexGuard<'static, Steps>, CUresult> {
    caller::enter_context()?;
    Ok(lock(function::steps(raw)?))
}

fn lock(steps: &Mutex<Steps>) -> MutexGuard<'_, Steps> {
    steps.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(raw: u64, grid: [i32; 2], stream: Handle) -> Result<(), CUresult> {
    let (block, shared, mut parameters) = {
        let steps = of(raw)?;
        let mut parameters = steps.parameters.clone();
        parameters.resize(steps.bytes, 0);
        (steps.block, steps.shared, parameters)
    };
    let [width, height] = grid.map(|blocks| u32::try_from(blocks).unwrap_or(0));
    let bytes = parameters.len();
    let extra = [POINTER, parameters.as_mut_ptr() as usize, SIZE, &raw const bytes as usize, END];
    let parts = launch::Shape { grid: [width, height, 1], block, shared };
    launch::of_parts(raw, parts, stream, core::ptr::null(), extra.as_ptr())
}

crate::export! {
    /// CUDA Driver API, cuFuncSetBlockShape.
    extern "C" fn cuFuncSetBlockShape(hfunc: u64, x: i32, y: i32, z: i32) {
        let mut steps = of(hfunc)?;
        let block = [x, y, z].map(|threads| u32::try_from(threads).unwrap_or(0));
        let limits = function::layout(hfunc)?.2.limits;
        let fits = block.iter().zip(&limits.block).all(|(threads, most)| *threads != 0 && threads <= most);
        if !fits || block.iter().product::<u32>() > limits.threads {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        steps.block = block;
        Ok(())
    }

    /// CUDA Driver API, cuFuncSetSharedSize.
    extern "C" fn cuFuncSetSharedSize(hfunc: u64, bytes: u32) {
        let mut steps = of(hfunc)?;
        if bytes > function::layout(hfunc)?.1.shared() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        steps.shared = bytes;
        Ok(())
    }

    /// CUDA Driver API, cuParamSetSize.
    extern "C" fn cuParamSetSize(hfunc: u64, numbytes: u32) {
        of(hfunc)?.set_size(numbytes)
    }

    /// CUDA Driver API, cuParamSeti.
    extern "C" fn cuParamSeti(hfunc: u64, offset: i32, value: u32) {
        of(hfunc)?.place(offset, 4)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// CUDA Driver API, cuParamSetf.
    extern "C" fn cuParamSetf(hfunc: u64, offset: i32, value: f32) {
        of(hfunc)?.place(offset, 4)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// CUDA Driver API, cuParamSetv.
    extern "C" fn cuParamSetv(hfunc: u64, offset: i32, ptr: *const c_void, numbytes: u32) {
        let mut steps = of(hfunc)?;
        let place = steps.place(offset, numbytes as usize)?;
        if ptr.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: the program's memory of so many bytes (CUDA Driver API, cuParamSetv).
        unsafe { program::read_into(ptr, place) };
        Ok(())
    }

    /// CUDA Driver API, cuLaunch: one block.
    extern "C" fn cuLaunch(f: u64) {
        run(f, [1, 1], Handle::NULL)
    }

    /// CUDA Driver API, cuLaunchGrid.
    extern "C" fn cuLaunchGrid(f: u64, grid_width: i32, grid_height: i32) {
        run(f, [grid_width, grid_height], Handle::NULL)
    }

    /// CUDA Driver API, cuLaunchGridAsync.
    extern "C" fn cuLaunchGridAsync(f: u64, grid_width: i32, grid_height: i32, hStream: u64) {
        let stream = stream::resolve(hStream)?;
        run(f, [grid_width, grid_height], stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_when_outside_of_the_parameters_then_is_refused() {
        let mut steps = Steps::default();
        assert_eq!(steps.place(8, 4).map(|place| place.len()), Ok(4));
        assert_eq!(steps.parameters.len(), 12);
        for (offset, bytes) in [(-1, 4), (32_761, 4), (32_764, 1), (0, 32_765), (i32::MAX, usize::MAX)] {
            assert_eq!(steps.place(offset, bytes), Err(CUDA_ERROR_INVALID_VALUE), "{offset} {bytes}");
        }
        assert_eq!(steps.set_size(32_764), Ok(()));
        assert_eq!(steps.set_size(32_765), Err(CUDA_ERROR_INVALID_VALUE));
    }
}
