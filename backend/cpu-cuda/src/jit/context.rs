//! What generated code sees of the world: one record per host thread that runs blocks.
//!
//! `exec` fills it before each call; generated code reads it by constant offsets (`offset_of!`) and writes the fault
//! fields, `resolved`, `yielded` and the fields that tell helpers which thread is running. It is reached only through
//! the pointer passed as first argument, so a kernel cannot name its address.

use std::ffi::c_void;

/// An entry of the table that function pointers index.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FunctionSlot {
    /// Entry point, 0 for functions that cannot be called through pointers.
    pub code: u64,
    /// Signature number.
    pub signature: u64,
}

/// The record.
#[repr(C)]
#[allow(missing_docs)] // the groups are explained
pub struct Context {
    // The arena: base, number of granules, map.
    pub arena_base: u64,
    pub granule_count: u64,
    pub granules: *const u8,
    // Shared memory of the block: where, bytes.
    pub shared: *mut u8,
    pub shared_len: u64,
    // Local memory: of thread 0, from one thread to the next (0: all use the same), bytes of a thread.
    pub local: *mut u8,
    pub local_stride: u64,
    pub local_len: u64,
    // Saved registers of thread 0, bytes from one thread to the next, and resume points.
    pub frames: *mut u8,
    pub frame_stride: u64,
    pub states: *mut u32,
    // Where threads that wait leave operands and find results: arrays of words, one a thread.
    pub exchange: *mut u64,
    // The place where all threads of this call stand, or a number that is none: see `regions`. What the call leaves: the
    // place where they all stand then, or `WAITING` alone if `states` says it.
    pub region: u32,
    pub left: u32,
    // Parameter block.
    pub params: *const u8,
    pub params_len: u64,
    // Result of the slow path of an access.
    pub resolved: u64,
    // Shapes.
    pub ntid: [u32; 3],
    pub nctaid: [u32; 3],
    pub ctaid: [u32; 3],
    pub cluster_shape: [u32; 3],
    pub cluster_id: [u32; 3],
    pub cluster_count: [u32; 3],
    pub cluster_ctaid: [u32; 3],
    pub cluster_rank: u32,
    pub cluster_size: u32,
    pub explicit_cluster: u32,
    pub sm_id: u32,
    pub nsm_id: u32,
    pub dynamic_shared: u32,
    pub grid_id: u64,
    pub grid_workspace: u64,
    // The running thread, for callees and helpers.
    pub thread: u32,
    pub tid: [u32; 3],
    pub thread_local: *mut u8,
    // Set when a thread gave up its turn without waiting for anything.
    pub yielded: u32,
    // The first fault.
    pub fault_kind: u32,
    pub fault_line: u32,
    pub fault_thread: u32,
    pub fault_address: u64,
    // Lowest stack address callees may reach.
    pub stack_limit: u64,
    // Function pointers.
    pub functions: *const FunctionSlot,
    pub function_count: u64,
    // Shared memory of the cluster's blocks, `cluster_size` pointers.
    pub cluster_shared: *const *mut u8,
    // `exec`'s own record, for helpers.
    pub host: *const c_void,
}

/// Kinds of fault as generated code writes them; 0 is none.
pub mod fault {
    #![allow(missing_docs)] // as in `FaultKind`
    pub const ILLEGAL_ADDRESS: u32 = 1;
    pub const MISALIGNED: u32 = 2;
    pub const TRAP: u32 = 3;
    pub const ASSERT: u32 = 4;
    pub const STACK_OVERFLOW: u32 = 5;
    pub const INVALID_PC: u32 = 6;
    pub const ILLEGAL_INSTRUCTION: u32 = 7;
}

/// Resume point of a thread that ended.
pub const DONE: u32 = u32::MAX;
/// Bit of a resume point: the thread waits.
pub const WAITING: u32 = 1 << 31;

/// Bytes of one array of the exchange.
pub const EXCHANGE_STEP: i32 = 8 * crate::engine::MAX_BLOCK_THREADS as i32;
/// Arrays of the exchange of a kernel without matrices.
pub const EXCHANGE_ARRAYS: usize = 5;
/// First operand (64 bits), also the first result.
pub const EXCHANGE_A: i32 = 0;
/// Second operand; also the second result.
pub const EXCHANGE_B: i32 = EXCHANGE_STEP;
/// Third operand.
pub const EXCHANGE_C: i32 = 2 * EXCHANGE_STEP;
/// Member mask, or barrier number.
pub const EXCHANGE_MASK: i32 = 3 * EXCHANGE_STEP;
/// Thread count of a barrier.
pub const EXCHANGE_COUNT: i32 = 4 * EXCHANGE_STEP;
