//! The structures of the driver API, laid out as its documentation says.
//!
//! Enumerations are plain numbers here, because a program may put anything into them. Handles inside structures are
//! plain 64-bit numbers, resolved where they are used. `api_layout` tests compare the sizes.

use std::fmt;

macro_rules! plain {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        #[allow(missing_docs)]
        pub struct $name { $(pub $field: $type),* }
    )*};
}

plain! {
    /// CUDA_MEMCPY2D.
    Memcpy2D {
        src_x: u64, src_y: u64, src_kind: u32, src_host: u64, src_device: u64, src_array: u64, src_pitch: u64,
        dst_x: u64, dst_y: u64, dst_kind: u32, dst_host: u64, dst_device: u64, dst_array: u64, dst_pitch: u64,
        width: u64, height: u64,
    }
    /// CUDA_MEMCPY3D; in CUDA_MEMCPY3D_PEER the reserved words are contexts.
    Memcpy3D {
        src_x: u64, src_y: u64, src_z: u64, src_lod: u64, src_kind: u32, src_host: u64, src_device: u64, src_array: u64,
        src_reserved: u64, src_pitch: u64, src_height: u64,
        dst_x: u64, dst_y: u64, dst_z: u64, dst_lod: u64, dst_kind: u32, dst_host: u64, dst_device: u64, dst_array: u64,
        dst_reserved: u64, dst_pitch: u64, dst_height: u64,
        width: u64, height: u64, depth: u64,
    }
    /// CUDA_MEMCPY2D before CUDA 3.2.
    Memcpy2DOld {
        src_x: u32, src_y: u32, src_kind: u32, src_host: u64, src_device: u32, src_array: u64, src_pitch: u32,
        dst_x: u32, dst_y: u32, dst_kind: u32, dst_host: u64, dst_device: u32, dst_array: u64, dst_pitch: u32,
        width: u32, height: u32,
    }
    /// CUDA_ARRAY_DESCRIPTOR.
    ArrayDescriptor { width: u64, height: u64, format: u32, channels: u32 }
    /// CUDA_ARRAY3D_DESCRIPTOR.
    Array3DDescriptor { width: u64, height: u64, depth: u64, format: u32, channels: u32, flags: u32 }
    /// CUDA_ARRAY_MEMORY_REQUIREMENTS.
    ArrayRequirements { size: u64, alignment: u64, reserved: [u32; 4] }
    /// CUDA_TEXTURE_DESC.
    TextureDescriptor {
        address: [u32; 3], filter: u32, flags: u32, max_anisotropy: u32, mipmap_filter: u32, level_bias: f32,
        min_level: f32, max_level: f32, border: [f32; 4], reserved: [i32; 12],
    }
    /// CUDA_RESOURCE_VIEW_DESC.
    ViewDescriptor {
        format: u32, width: u64, height: u64, depth: u64, first_level: u32, last_level: u32, first_layer: u32,
        last_layer: u32, reserved: [u32; 16],
    }
    /// The linear memory of a CUDA_RESOURCE_DESC.
    LinearResource { address: u64, format: u32, channels: u32, bytes: u64 }
    /// The pitched memory of a CUDA_RESOURCE_DESC.
    PitchResource { address: u64, format: u32, channels: u32, width: u64, height: u64, pitch: u64 }
    /// CUlaunchConfig.
    LaunchConfig { grid: [u32; 3], block: [u32; 3], shared: u32, stream: u64, attributes: u64, count: u32 }
    /// CUlaunchAttribute.
    LaunchAttribute { id: u32, pad: u32, value: [u32; 16] }
    /// CUDA_LAUNCH_PARAMS.
    LaunchParams { function: u64, grid: [u32; 3], block: [u32; 3], shared: u32, stream: u64, params: u64 }
    /// CUDA_KERNEL_NODE_PARAMS before version 2.
    KernelNodeOld { function: u64, grid: [u32; 3], block: [u32; 3], shared: u32, params: u64, extra: u64 }
    /// CUDA_KERNEL_NODE_PARAMS.
    KernelNode {
        function: u64, grid: [u32; 3], block: [u32; 3], shared: u32, params: u64, extra: u64, kernel: u64, context: u64,
    }
    /// CUDA_MEMSET_NODE_PARAMS.
    MemsetNode { address: u64, pitch: u64, value: u32, size: u32, width: u64, height: u64 }
    /// CUDA_HOST_NODE_PARAMS.
    HostNode { function: u64, data: u64 }
    /// CUgraphEdgeData.
    EdgeData { from_port: u8, to_port: u8, kind: u8, reserved: [u8; 5] }
    /// CUDA_GRAPH_INSTANTIATE_PARAMS.
    InstantiateParams { flags: u64, upload_stream: u64, error_node: u64, result: u32 }
    /// CUgraphExecUpdateResultInfo.
    UpdateResult { result: u32, error_node: u64, error_from: u64 }
    /// CUmemLocation.
    Location { kind: u32, id: i32 }
    /// CUmemAccessDesc.
    Access { location: Location, flags: u32 }
    /// CUmemAllocationProp.
    AllocationProperties {
        kind: u32, handle_types: u32, location: Location, win32: u64, compression: u8, rdma: u8, usage: u16,
        reserved: [u8; 4],
    }
    /// CUmemPoolProps.
    PoolProperties {
        kind: u32, handle_types: u32, location: Location, win32: u64, most: u64, usage: u16, reserved: Bytes54,
    }
    /// CUDA_MEM_ALLOC_NODE_PARAMS.
    AllocNode { pool: PoolProperties, access: u64, access_count: u64, bytes: u64, address: u64 }
    /// CUmemcpyAttributes.
    CopyAttributes { order: u32, from: Location, to: Location, flags: u32 }
    /// CUmemcpy3DOperand: a kind, and a union that is read by it: an address or an array, then three lengths or places.
    CopyEnd { kind: u32, words: [u64; 4] }
    /// CUDA_MEMCPY3D_BATCH_OP.
    BoxCopy { from: CopyEnd, to: CopyEnd, extent: [u64; 3], order: u32, flags: u32 }
    /// CUdevprop.
    DeviceProperties {
        max_threads: i32, block: [i32; 3], grid: [i32; 3], shared: i32, constant: i32, warp: i32, pitch: i32,
        registers: i32, clock: i32, texture_align: i32,
    }
    /// CUstreamBatchMemOpParams: operation, address, value, flags, alias.
    MemOp { operation: u32, address: u64, value: u64, flags: u32, alias: u64, pad: u64 }
    /// CUDA_BATCH_MEM_OP_NODE_PARAMS: a context, how many operations, where they are, flags.
    MemOpsNode { context: u64, count: u32, list: u64, flags: u32 }
    /// CUDA_CONDITIONAL_NODE_PARAMS: a handle, what it decides, how many graphs, where their handles are, a context.
    ConditionalNode { handle: u64, kind: u32, size: u32, graphs: u64, context: u64 }
    /// CUexecAffinityParam.
    Affinity { kind: u32, count: u32 }
}

/// 54 reserved bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes54(pub [u8; 54]);

impl Default for Bytes54 {
    fn default() -> Self {
        Bytes54([0; 54])
    }
}

impl fmt::Debug for Bytes54 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// CUDA_RESOURCE_DESC: a kind, and 128 bytes that are read by it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceDescriptor {
    /// CUresourcetype: 0 array, 1 mipmapped array, 2 linear, 3 pitched.
    pub kind: u32,
    /// The union.
    pub words: [u64; 16],
    /// Must be 0.
    pub flags: u32,
}

impl ResourceDescriptor {
    /// The union as linear memory.
    pub fn linear(&self) -> LinearResource {
        let [address, format, bytes, ..] = self.words;
        LinearResource { address, format: format as u32, channels: (format >> 32) as u32, bytes }
    }

    /// The union as pitched memory.
    pub fn pitched(&self) -> PitchResource {
        let [address, format, width, height, pitch, ..] = self.words;
        PitchResource { address, format: format as u32, channels: (format >> 32) as u32, width, height, pitch }
    }
}

/// CUgraphNodeParams: a kind, and a union that is read by it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NodeParams {
    /// CUgraphNodeType.
    pub kind: u32,
    /// Must be 0.
    pub reserved: [u32; 3],
    /// The union.
    pub words: [u64; 29],
    /// Must be 0.
    pub last: u64,
}

impl NodeParams {
    /// The union as a structure that is not larger.
    pub fn read<T: Copy>(&self) -> T {
        const { assert!(size_of::<T>() <= 29 * 8 && align_of::<T>() <= 8) };
        // SAFETY: large and aligned enough, and the structures of this file take any bytes.
        unsafe { self.words.as_ptr().cast::<T>().read() }
    }

    /// Writes a structure into the union.
    pub fn write<T: Copy>(&mut self, value: T) {
        const { assert!(size_of::<T>() <= 29 * 8 && align_of::<T>() <= 8) };
        // SAFETY: as above.
        unsafe { self.words.as_mut_ptr().cast::<T>().write(value) };
    }
}

/// CUuuid.
pub type Uuid = [u8; 16];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_when_measured_then_as_documented() {
        let sizes = [
            (size_of::<Memcpy2D>(), 128),
            (size_of::<Memcpy3D>(), 200),
            (size_of::<Memcpy2DOld>(), 96),
            (size_of::<ArrayDescriptor>(), 24),
            (size_of::<Array3DDescriptor>(), 40),
            (size_of::<TextureDescriptor>(), 104),
            (size_of::<ViewDescriptor>(), 112),
            (size_of::<ResourceDescriptor>(), 144),
            (size_of::<LaunchConfig>(), 56),
            (size_of::<LaunchAttribute>(), 72),
            (size_of::<LaunchParams>(), 56),
            (size_of::<KernelNodeOld>(), 56),
            (size_of::<KernelNode>(), 72),
            (size_of::<MemsetNode>(), 40),
            (size_of::<InstantiateParams>(), 32),
            (size_of::<AllocationProperties>(), 32),
            (size_of::<PoolProperties>(), 88),
            (size_of::<AllocNode>(), 120),
            (size_of::<NodeParams>(), 256),
            (size_of::<MemOp>(), 48),
            (size_of::<MemOpsNode>(), 32),
            (size_of::<ConditionalNode>(), 32),
            (size_of::<CopyAttributes>(), 24),
            (size_of::<BoxCopy>(), 112),
        ];
        assert!(sizes.iter().all(|(ours, theirs)| ours == theirs), "{sizes:?}");
    }
}
