// SPDX-License-Identifier: Apache-2.0 OR MIT
// What CUDA's own headers would define, for kernels compiled by clang with none of them.
#pragma once

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

static __device__ inline u32 thread_x() { return __nvvm_read_ptx_sreg_tid_x(); }
static __device__ inline u32 thread_y() { return __nvvm_read_ptx_sreg_tid_y(); }
static __device__ inline u32 block_x() { return __nvvm_read_ptx_sreg_ctaid_x(); }
static __device__ inline u32 block_y() { return __nvvm_read_ptx_sreg_ctaid_y(); }
static __device__ inline u32 block_z() { return __nvvm_read_ptx_sreg_ctaid_z(); }
static __device__ inline u32 threads_x() { return __nvvm_read_ptx_sreg_ntid_x(); }
static __device__ inline u32 threads_y() { return __nvvm_read_ptx_sreg_ntid_y(); }
static __device__ inline u32 blocks_x() { return __nvvm_read_ptx_sreg_nctaid_x(); }
static __device__ inline u32 blocks_y() { return __nvvm_read_ptx_sreg_nctaid_y(); }
static __device__ inline u32 index_x() { return block_x() * threads_x() + thread_x(); }
static __device__ inline u32 index_y() { return block_y() * threads_y() + thread_y(); }

static __device__ inline void barrier() { __syncthreads(); }
static __device__ inline void add(u32 *to, u32 value) { __nvvm_atom_add_gen_i((int *)to, (int)value); }
static __device__ inline void add(u64 *to, u64 value) { __nvvm_atom_add_gen_l((long *)to, (long)value); }
static __device__ inline void raise(u32 *to, u32 value) { __nvvm_atom_max_gen_ui(to, value); }
