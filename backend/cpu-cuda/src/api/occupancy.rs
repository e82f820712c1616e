//! Occupancy: how much of a multiprocessor a kernel would fill.

use super::execution::config_shape;
use crate::context;
use crate::device;
use crate::driver;
use crate::engine::FunctionInfo;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::launch::resident_blocks;
use crate::module::callable;
use crate::status::{Answer, Status};
use crate::types::LaunchConfig;

type SharedForBlock = unsafe extern "C" fn(i32) -> u64;

fn blocks(function: u64, threads: i32, shared: u64) -> Answer<i32> {
    let threads = u32::try_from(threads).ok().filter(|n| *n > 0).ok_or(Status::INVALID_VALUE)?;
    let function = callable(function, context::usable)?;
    let shared = u32::try_from(shared).unwrap_or(u32::MAX);
    Ok(resident_blocks(function.info()?, threads, shared) as i32)
}

/// The block size that fills a multiprocessor best, and the grid that fills the device.
fn best_block(info: &FunctionInfo, shared: impl Fn(u32) -> u32, limit: i32) -> Answer<(i32, i32)> {
    let limit = u32::try_from(limit).ok().filter(|n| *n > 0).unwrap_or(u32::MAX).min(info.max_threads);
    let sizes = (1..=limit / 32).map(|warps| warps * 32).chain((!limit.is_multiple_of(32)).then_some(limit));
    let (mut best, mut most) = ((0, 0), 0);
    for threads in sizes {
        let blocks = resident_blocks(info, threads, shared(threads));
        if blocks * threads >= most {
            (most, best) = (blocks * threads, (blocks, threads));
        }
    }
    Ok(((best.0 * driver::initialised()?.cores) as i32, best.1 as i32))
}

fn best(
    grid: Out<i32>,
    block: Out<i32>,
    function: u64,
    shared: Option<SharedForBlock>,
    plain: u64,
    limit: i32,
) -> Answer {
    grid.check()?;
    block.check()?;
    let function = callable(function, context::usable)?;
    let bytes = |threads: u32| match shared {
        // SAFETY: the program gave the function for this use.
        Some(shared) => u32::try_from(unsafe { shared(threads as i32) }).unwrap_or(u32::MAX),
        None => u32::try_from(plain).unwrap_or(u32::MAX),
    };
    let found = best_block(function.info()?, bytes, limit)?;
    grid.set(found.0)?;
    block.set(found.1)
}

cuda! {
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(count: Out<i32>, function: u64, threads: i32, shared: u64) {
        count.check()?;
        count.set(blocks(function, threads, shared)?)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        count: Out<i32>, function: u64, threads: i32, shared: u64, _flags: u32,
    ) {
        count.check()?;
        count.set(blocks(function, threads, shared)?)
    }

    fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<i32>, block: Out<i32>, function: u64, shared: Option<SharedForBlock>, plain: u64, limit: i32,
    ) {
        best(grid, block, function, shared, plain, limit)
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<i32>, block: Out<i32>, function: u64, shared: Option<SharedForBlock>, plain: u64, limit: i32, _flags: u32,
    ) {
        best(grid, block, function, shared, plain, limit)
    }

    fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: Out<u64>, function: u64, count: i32, threads: i32) {
        bytes.check()?;
        let count = u32::try_from(count).ok().filter(|n| *n > 0).ok_or(Status::INVALID_VALUE)?;
        u32::try_from(threads).ok().filter(|n| *n > 0).ok_or(Status::INVALID_VALUE)?;
        let function = callable(function, context::usable)?;
        let each = device::shared_per_processor() / count;
        let most = each.min(device::shared_per_block_optin());
        bytes.set(u64::from(most.saturating_sub(function.info()?.static_shared_bytes)))
    }

    fn cuOccupancyMaxPotentialClusterSize(size: Out<i32>, function: u64, config: In<LaunchConfig>) {
        size.check()?;
        callable(function, context::usable)?;
        config_shape(config)?;
        size.set(device::MAX_CLUSTER as i32)
    }

    fn cuOccupancyMaxActiveClusters(count: Out<i32>, function: u64, config: In<LaunchConfig>) {
        count.check()?;
        let function = callable(function, context::usable)?;
        let shape = config_shape(config)?;
        let threads = shape.block.iter().fold(1u32, |all, n| all.saturating_mul(*n));
        let resident = resident_blocks(function.info()?, threads, shape.shared) * driver::initialised()?.cores;
        let cluster = shape.cluster.iter().fold(1u32, |all, n| all.saturating_mul(*n));
        count.set((resident / cluster.max(1)).max(1) as i32)
    }
}
