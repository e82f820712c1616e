//! Occupancy: asked of the host, which knows its multiprocessors; the best block size is searched for here with its answers.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::function;
use crate::generated::send;
use crate::handles::Handle;
use crate::launch_config::{Config, Described};
use crate::program::{In, Out};
use crate::status::{CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, CUDA_ERROR_INVALID_VALUE};

/// Tells the bytes of dynamic shared memory for a block size (`CUoccupancyB2DSize`).
type SharedOf = Option<unsafe extern "C" fn(i32) -> usize>;

/// Threads that are scheduled together: block sizes are searched in these steps.
const WARP: i32 = 32;

fn blocks(caller: &Caller, func: Handle, threads: i32, shared: usize, flags: u32) -> Result<i32, CUresult> {
    let mut blocks = 0;
    let status =
        send::cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(caller, &mut blocks, func, threads, shared, flags);
    caller::answer(status)?;
    Ok(blocks)
}

/// The block size with most threads on a multiprocessor, the largest of those that tie; and how many blocks fill the device.
fn best(func: u64, shared_of: SharedOf, shared: usize, limit: i32, flags: u32) -> Result<(i32, i32), CUresult> {
    let caller = caller::enter_context()?;
    let handle = function::in_context(func)?;
    let (_, layout, device) = function::layout(func)?;
    let most = layout.threads().min(device.limits.threads) as i32;
    let most = if limit > 0 { most.min(limit) } else { most };
    let (mut best_size, mut best_blocks) = (0, 0);
    let mut size = most;
    while size > 0 {
        let bytes = match shared_of {
            // SAFETY: the program's own function, given for this use (CUDA Driver API, cuOccupancyMaxPotentialBlockSize).
            Some(of) => unsafe { of(size) },
            None => shared,
        };
        let fit = blocks(&caller, handle, size, bytes, flags)?;
        if fit.saturating_mul(size) > best_blocks * best_size {
            (best_size, best_blocks) = (size, fit);
        }
        size = (size - 1) / WARP * WARP;
    }
    let processors = device.attribute(crate::device::attribute::MULTIPROCESSOR_COUNT)?;
    Ok((best_size, best_blocks.saturating_mul(processors)))
}

/// All blocks of a cooperative launch must be on the device at a time.
///
/// # Errors
/// `CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE`.
pub fn check_cooperative(function: u64, grid: [u32; 3], block: [u32; 3], shared: u32) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    let (_, _, device) = function::layout(function)?;
    let threads = block.iter().product::<u32>() as i32;
    let fit = blocks(&caller, function::in_context(function)?, threads, shared as usize, 0)?;
    let processors = device.attribute(crate::device::attribute::MULTIPROCESSOR_COUNT)?;
    let wanted = grid.iter().map(|blocks| u128::from(*blocks)).product::<u128>();
    let most = i64::from(fit) * i64::from(processors);
    if wanted > most.max(0) as u128 { Err(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE) } else { Ok(()) }
}

fn clusters(
    out: Out<i32>,
    func: u64,
    config: In<Config>,
    send: impl FnOnce(&Caller, &mut i32, Handle, &Described) -> CUresult,
) -> Result<(), CUresult> {
    let caller = caller::enter_context()?;
    out.check()?;
    let described = config.get()?.describe()?;
    let (handle, _, _) = function::layout(func)?;
    let mut number = 0;
    caller::answer(send(&caller, &mut number, handle, &described))?;
    out.set(number)
}

crate::export! {
    /// CUDA Driver API, cuOccupancyMaxActiveBlocksPerMultiprocessor.
    extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        numBlocks: Out<i32>, func: u64, blockSize: i32, dynamicSMemSize: usize,
    ) {
        let caller = caller::enter_context()?;
        numBlocks.check()?;
        let func = function::in_context(func)?;
        numBlocks.set(blocks(&caller, func, blockSize, dynamicSMemSize, 0)?)
    }

    /// CUDA Driver API, cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags.
    extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        numBlocks: Out<i32>, func: u64, blockSize: i32, dynamicSMemSize: usize, flags: u32,
    ) {
        let caller = caller::enter_context()?;
        numBlocks.check()?;
        let func = function::in_context(func)?;
        numBlocks.set(blocks(&caller, func, blockSize, dynamicSMemSize, flags)?)
    }

    /// CUDA Driver API, cuOccupancyMaxPotentialBlockSize.
    extern "C" fn cuOccupancyMaxPotentialBlockSize(
        minGridSize: Out<i32>, blockSize: Out<i32>, func: u64, blockSizeToDynamicSMemSize: SharedOf,
        dynamicSMemSize: usize, blockSizeLimit: i32,
    ) {
        blockSize.check()?;
        let (size, grid) = best(func, blockSizeToDynamicSMemSize, dynamicSMemSize, blockSizeLimit, 0)?;
        minGridSize.set(grid)?;
        blockSize.set(size)
    }

    /// CUDA Driver API, cuOccupancyMaxPotentialBlockSizeWithFlags.
    extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        minGridSize: Out<i32>, blockSize: Out<i32>, func: u64, blockSizeToDynamicSMemSize: SharedOf,
        dynamicSMemSize: usize, blockSizeLimit: i32, flags: u32,
    ) {
        blockSize.check()?;
        let (size, grid) = best(func, blockSizeToDynamicSMemSize, dynamicSMemSize, blockSizeLimit, flags)?;
        minGridSize.set(grid)?;
        blockSize.set(size)
    }

    /// CUDA Driver API, cuOccupancyAvailableDynamicSMemPerBlock.
    extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
        dynamicSmemSize: Out<usize>, func: u64, numBlocks: i32, blockSize: i32,
    ) {
        let caller = caller::enter_context()?;
        dynamicSmemSize.check()?;
        let func = function::in_context(func)?;
        if numBlocks <= 0 || blockSize <= 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let mut bytes = 0;
        let status =
            send::cuOccupancyAvailableDynamicSMemPerBlock(&caller, &mut bytes, func, numBlocks, blockSize);
        caller::answer(status)?;
        dynamicSmemSize.set(bytes)
    }

    /// CUDA Driver API, cuOccupancyMaxActiveClusters.
    extern "C" fn cuOccupancyMaxActiveClusters(numClusters: Out<i32>, func: u64, config: In<Config>) {
        clusters(numClusters, func, config, |caller, number, func, d| {
            send::gpuferryOccupancyClusters(caller, number, func, d.stream, &d.launch, &d.attributes)
        })
    }

    /// CUDA Driver API, cuOccupancyMaxPotentialClusterSize.
    extern "C" fn cuOccupancyMaxPotentialClusterSize(clusterSize: Out<i32>, func: u64, config: In<Config>) {
        clusters(clusterSize, func, config, |caller, number, func, d| {
            send::gpuferryOccupancyClusterSize(caller, number, func, d.stream, &d.launch, &d.attributes)
        })
    }
}
