//! Streams and graphs, where a call is more than its arguments.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use wire::Malformed;
use wire::frame::FrameHeader;

use super::Cuda;
use super::generated::CUDA_ERROR_NOT_SUPPORTED;
use crate::worker::answer::{Failure, function, ok};

/// Bytes of an attribute's value (`CUstreamAttrValue`).
const VALUE: usize = 64;

/// `CU_STREAM_CAPTURE_MODE_RELAXED`.
pub(super) const RELAXED: u32 = 2;

/// Attributes of streams whose values are numbers: access policy window, synchronization policy, priority, domain map, domain.
fn is_number(attribute: u32) -> bool {
    matches!(attribute, 1 | 3 | 8 | 9 | 10 | 16)
}

impl Cuda {
    /// `cuStreamSetAttribute`.
    pub(super) fn gpuferryStreamSetAttribute(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        attribute: u32,
        value: &[u8],
    ) -> Result<(), Failure> {
        let call = function!(self, cuStreamSetAttribute)?;
        if value.len() != VALUE {
            return Err(Malformed::new("a stream attribute of a wrong length").into());
        }
        if !is_number(attribute) {
            return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED));
        }
        let mut aligned = [0u64; VALUE / 8];
        for (word, bytes) in aligned.iter_mut().zip(value.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        // SAFETY: the stream lives, the value has the attribute's width.
        ok(unsafe { call(stream, attribute, aligned.as_ptr().cast()) })
    }

    /// `cuStreamGetAttribute`.
    pub(super) fn gpuferryStreamGetAttribute(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        attribute: u32,
        value: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let call = function!(self, cuStreamGetAttribute)?;
        if !is_number(attribute) {
            return Err(Failure::Status(CUDA_ERROR_NOT_SUPPORTED));
        }
        let mut aligned = [0u64; VALUE / 8];
        // SAFETY: the stream lives, there is room for the widest value.
        ok(unsafe { call(stream, attribute, aligned.as_mut_ptr().cast()) })?;
        value.extend(aligned.iter().flat_map(|word| word.to_le_bytes()));
        Ok(())
    }

    /// `cuStreamBeginCapture`, in the relaxed mode whatever the guest says: another thread of this process may end it.
    pub(super) fn cuStreamBeginCapture_v2(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        _mode: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuStreamBeginCapture_v2)?;
        self.recording_begins();
        // SAFETY: the stream lives.
        ok(unsafe { call(stream, RELAXED) })
    }

    /// `gpuferryStreamCaptureInfo`.
    pub(super) fn gpuferryStreamCaptureInfo(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        state: &mut u32,
        id: &mut u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuStreamGetCaptureInfo_v2)?;
        let none = std::ptr::null_mut::<c_void>;
        // SAFETY: the stream lives, the pointers are to live variables or null, which is allowed for the last three.
        ok(unsafe { call(stream, state, id, none().cast(), none().cast(), none().cast()) })
    }

    /// `gpuferryStreamBatchMemOp`.
    pub(super) fn gpuferryStreamBatchMemOp(
        &self,
        _from: &FrameHeader,
        stream: *mut c_void,
        operations: &[u8],
        flags: u32,
    ) -> Result<(), Failure> {
        let call = function!(self, cuStreamBatchMemOp_v2)?;
        let mut words = self.operations(operations)?;
        let count = (words.len() / super::graph_nodes::OPERATION) as u32;
        // SAFETY: the stream lives; the array has `count` operations, whose addresses were checked.
        ok(unsafe { call(stream, count, words.as_mut_ptr(), flags) })
    }

    /// Copies must ask from now on whether their stream records.
    pub(super) fn recording_begins(&self) {
        self.has_captured.store(true, Ordering::Relaxed);
    }
}
