//! What kernels print, for the guest that asks for it.

use wire::frame::FrameHeader;

use super::OpenCl;
use super::generated::CL_OUT_OF_RESOURCES;
use crate::worker::answer::Failure;

impl OpenCl {
    /// `gpuferryPrinted`.
    pub(super) fn gpuferryPrinted(&self, _from: &FrameHeader, printed: &mut Vec<u8>) -> Result<(), Failure> {
        *printed = self.printed.take(&self.session).ok_or(Failure::Status(CL_OUT_OF_RESOURCES))?;
        Ok(())
    }
}
