//! What kernels print, for the guest that asks for it.

use wire::frame::FrameHeader;

use super::OpenCl;
use crate::worker::answer::Failure;
use crate::worker::printed;

impl OpenCl {
    /// `gpuferryPrinted`.
    pub(super) fn gpuferryPrinted(&self, _from: &FrameHeader, found: &mut Vec<u8>) -> Result<(), Failure> {
        *found = printed::take(&self.session);
        Ok(())
    }
}
