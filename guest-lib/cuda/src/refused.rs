//! Functions that the driver itself refuses where a guest can be: their devices, or their counterparts, are not there. Each
//! answers what an H200's driver answers, in its order (`spec/api/cuda_unsupported.txt` says why it refuses).

use crate::CUresult;
use crate::caller;
use crate::counts;
use crate::program::{In, Out};
use crate::ranges;
use crate::status::{CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED};
use core::ffi::{c_char, c_void};

/// What addresses and lengths of [`cuMemGetHandleForAddressRange`] are multiples of: pages.
const PAGE: u64 = 4096;
/// `CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD`.
const DMA_BUF: u32 = 1;
/// `CUDA_NVSCISYNC_ATTR_SIGNAL`, `…_WAIT`, and both.
const SIGNAL_OR_WAIT: core::ops::RangeInclusive<u32> = 1..=3;

/// A node for semaphores that cannot be had.
fn semaphore_node(node: Out<u64>, graph: u64, params: In<u64>) -> CUresult {
    let given = node.check().and_then(|()| params.get());
    match given {
        Ok(_) if graph != 0 => counts::unsupported("a graph's node of external semaphores"),
        _ => CUDA_ERROR_INVALID_VALUE,
    }
}

crate::export! {
    /// CUDA Driver API, cuGraphAddExternalSemaphoresSignalNode.
    extern "C" fn cuGraphAddExternalSemaphoresSignalNode | extern "C" fn cuGraphAddExternalSemaphoresWaitNode(
        phGraphNode: Out<u64>, hGraph: u64, _dependencies: In<u64>, _numDependencies: usize, nodeParams: In<u64>,
    ) {
        Err(semaphore_node(phGraphNode, hGraph, nodeParams))
    }

    /// CUDA Driver API, cuGraphExternalSemaphoresSignalNodeGetParams: no node is one of semaphores.
    extern "C" fn cuGraphExternalSemaphoresSignalNodeGetParams | extern "C" fn cuGraphExternalSemaphoresWaitNodeGetParams(
        _hNode: u64, _params_out: Out<u64>,
    ) {
        Err(CUDA_ERROR_INVALID_VALUE)
    }

    /// CUDA Driver API, cuGraphExternalSemaphoresSignalNodeSetParams.
    extern "C" fn cuGraphExternalSemaphoresSignalNodeSetParams | extern "C" fn cuGraphExternalSemaphoresWaitNodeSetParams(
        _hNode: u64, _nodeParams: In<u64>,
    ) {
        Err(CUDA_ERROR_INVALID_VALUE)
    }

    /// CUDA Driver API, cuGraphExecExternalSemaphoresSignalNodeSetParams.
    extern "C" fn cuGraphExecExternalSemaphoresSignalNodeSetParams | extern "C" fn cuGraphExecExternalSemaphoresWaitNodeSetParams(
        _hGraphExec: u64, _hNode: u64, _nodeParams: In<u64>,
    ) {
        Err(CUDA_ERROR_INVALID_VALUE)
    }

    /// CUDA Driver API, cuMemGetHandleForAddressRange, of a device without DMA-BUF, as the attribute says.
    extern "C" fn cuMemGetHandleForAddressRange(handle: Out<u64>, dptr: u64, size: usize, handleType: u32, _flags: u64) {
        handle.check()?;
        let caller = caller::enter_context()?;
        let bytes = size as u64;
        if bytes == 0 || !bytes.is_multiple_of(PAGE) || handleType != DMA_BUF {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        ranges::check(&caller, dptr, Some(bytes), PAGE)?;
        Err(counts::unsupported("cuMemGetHandleForAddressRange"))
    }

    /// CUDA Driver API, cuMemBatchDecompressAsync.
    extern "C" fn cuMemBatchDecompressAsync | extern "C" fn cuMemBatchDecompressAsync_ptsz(
        _paramsArray: In<u64>, _count: usize, _flags: u32, _errorIndex: Out<usize>, _stream: u64,
    ) {
        caller::enter_context()?;
        Err(counts::unsupported("cuMemBatchDecompressAsync"))
    }

    /// CUDA Driver API, cuDeviceGetNvSciSyncAttributes.
    extern "C" fn cuDeviceGetNvSciSyncAttributes(nvSciSyncAttrList: *mut c_void, _dev: i32, flags: u32) {
        caller::enter()?;
        if nvSciSyncAttrList.is_null() {
            return Err(CUDA_ERROR_INVALID_HANDLE);
        }
        Err(if SIGNAL_OR_WAIT.contains(&flags) { CUDA_ERROR_NOT_SUPPORTED } else { CUDA_ERROR_INVALID_VALUE })
    }

    /// CUDA Driver API, cuProfilerInitialize: also before cuInit.
    extern "C" fn cuProfilerInitialize(_configFile: *const c_char, _outputFile: *const c_char, _outputMode: u32) {
        Err(CUDA_ERROR_NOT_SUPPORTED)
    }

    /// Not documented: also before cuInit.
    extern "C" fn cuMemGetAttribute | extern "C" fn cuMemGetAttribute_v2() {
        Err(CUDA_ERROR_NOT_SUPPORTED)
    }
}
