// SPDX-License-Identifier: Apache-2.0 OR MIT
// Kernels of the programs `battery` and `latency`: each exercises one thing, exactly.
#include "device.h"

__device__ u32 variable = 0x1234;
__device__ u8 table[100];
__constant__ u32 factor[4] = {1, 10, 100, 1000};

extern "C" __global__ void nothing() {}

// out[i] = i * scale + offset
extern "C" __global__ void fill(u32 *out, u32 count, u32 scale, u32 offset)
{
    u32 i = index_x();
    if (i < count)
        out[i] = i * scale + offset;
}

extern "C" __global__ void add_arrays(const u32 *a, const u32 *b, u32 *out, u32 count)
{
    u32 i = index_x();
    if (i < count)
        out[i] = a[i] + b[i];
}

struct Mixed {
    u8 byte;
    u64 wide;
    u16 half;
    float real;
};

// Parameters of every size, each at its own alignment, and a structure by value.
extern "C" __global__ void parameters(u64 *out, u8 byte, u16 half, u32 word, u64 wide, float real, double precise, Mixed mixed)
{
    out[0] = byte;
    out[1] = half;
    out[2] = word;
    out[3] = wide;
    out[4] = (u64)(real * 4.0f);
    out[5] = (u64)(precise * 8.0);
    out[6] = mixed.byte + mixed.half;
    out[7] = mixed.wide + (u64)(mixed.real * 2.0f);
}

// Where each thread of a three-dimensional grid is.
extern "C" __global__ void places(u32 *out)
{
    u32 tz = __nvvm_read_ptx_sreg_tid_z(), nz = __nvvm_read_ptx_sreg_ntid_z();
    u32 in_block = (tz * threads_y() + thread_y()) * threads_x() + thread_x();
    u32 block = (block_z() * blocks_y() + block_y()) * blocks_x() + block_x();
    out[block * threads_x() * threads_y() * nz + in_block] = block << 16 | tz << 10 | thread_y() << 5 | thread_x();
}

extern __shared__ u32 dynamic[];

// Reverses each block's part in dynamic shared memory.
extern "C" __global__ void reverse(u32 *data)
{
    dynamic[thread_x()] = data[index_x()];
    barrier();
    data[index_x()] = dynamic[threads_x() - 1 - thread_x()];
}

// A sum of 64 bits in static shared memory, then by atomics; the order of additions cannot change it.
extern "C" __global__ void sum(const u32 *data, u64 *out, u64 count)
{
    __shared__ u64 part[256];
    u64 own = 0;
    for (u64 i = index_x(); i < count; i += (u64)blocks_x() * threads_x())
        own += (u64)data[i] * (2 * i + 1);
    part[thread_x()] = own;
    for (u32 half = 128; half > 0; half /= 2) {
        barrier();
        if (thread_x() < half)
            part[thread_x()] += part[thread_x() + half];
    }
    if (thread_x() == 0)
        add(out, part[0]);
}

// Reads and writes the module's variables.
extern "C" __global__ void globals(u32 *out)
{
    out[0] = variable;
    out[1] = factor[0] + factor[1] + factor[2] + factor[3];
    u32 total = 0;
    for (u32 i = 0; i < 100; i++)
        total += table[i];
    out[2] = total;
    variable = 0x5678;
}

// Keeps a device busy: rounds steps of a generator that cannot be shortened.
extern "C" __global__ void busy(u32 *out, u32 rounds)
{
    u32 state = index_x() + 1;
    for (u32 i = 0; i < rounds; i++)
        state = (state ^ state >> 15) * 0x2c1b3c6d;
    out[index_x()] = state;
}

// Floating point that IEEE 754 rounds exactly: one result for each operation.
extern "C" __global__ void exact(const float *a, const float *b, float *out, double *wide)
{
    u32 i = thread_x();
    out[5 * i] = __nvvm_add_rn_f(a[i], b[i]);
    out[5 * i + 1] = __nvvm_mul_rn_f(a[i], b[i]);
    out[5 * i + 2] = __nvvm_fma_rn_f(a[i], b[i], a[i]);
    out[5 * i + 3] = __nvvm_div_rn_f(a[i], b[i]);
    out[5 * i + 4] = __nvvm_sqrt_rn_f(a[i]);
    wide[2 * i] = __nvvm_div_rn_d((double)a[i], (double)b[i]);
    wide[2 * i + 1] = __nvvm_sqrt_rn_d((double)b[i]);
}

// Writes where nothing is: for the error it gives.
extern "C" __global__ void stray(u32 *nowhere) { *nowhere = 1; }

extern "C" __global__ void trap() { __builtin_trap(); }
