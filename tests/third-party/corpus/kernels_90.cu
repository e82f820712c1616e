// SPDX-License-Identifier: Apache-2.0 OR MIT
// Kernels for corpus_judge.py, compiled by NVRTC for compute_90: what later GPUs have, and matrices.
// A warp's fragments go in and come out as the registers of its lanes: lane by lane, register by register.
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_pipeline.h>
#include <mma.h>

#define AT (blockIdx.x * blockDim.x + threadIdx.x)
#define LANE threadIdx.x
typedef unsigned int u32;
typedef unsigned long long u64;

extern "C" {

// mma.sync. Operands are 32-bit registers; floats go in as their bits.
#define MMA_2_2_1_4(name, what)                                                                                    \
    __global__ void name(const u32 *a, const u32 *b, const u32 *c, u32 *d) {                                       \
        u32 *o = d + 4 * LANE; a += 2 * LANE; b += LANE; c += 4 * LANE;                                            \
        asm volatile("mma.sync.aligned." what " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"                     \
                     : "=r"(o[0]), "=r"(o[1]), "=r"(o[2]), "=r"(o[3])                                              \
                     : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));               \
    }
#define MMA_4_2_4(name, what)                                                                                      \
    __global__ void name(const u32 *a, const u32 *b, const u32 *c, u32 *d) {                                       \
        u32 *o = d + 4 * LANE; a += 4 * LANE; b += 2 * LANE; c += 4 * LANE;                                        \
        asm volatile("mma.sync.aligned." what " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"         \
                     : "=r"(o[0]), "=r"(o[1]), "=r"(o[2]), "=r"(o[3])                                              \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]),     \
                       "r"(c[2]), "r"(c[3]));                                                                      \
    }
// The same with floats for sums: the assembler wants their register class.
#define MMA_F_2_1(name, what)                                                                                      \
    __global__ void name(const u32 *a, const u32 *b, const float *c, float *d) {                                   \
        float *o = d + 4 * LANE; a += 2 * LANE; b += LANE; c += 4 * LANE;                                          \
        asm volatile("mma.sync.aligned." what " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"                     \
                     : "=f"(o[0]), "=f"(o[1]), "=f"(o[2]), "=f"(o[3])                                              \
                     : "r"(a[0]), "r"(a[1]), "r"(b[0]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));               \
    }
#define MMA_F_4_2(name, what)                                                                                      \
    __global__ void name(const u32 *a, const u32 *b, const float *c, float *d) {                                   \
        float *o = d + 4 * LANE; a += 4 * LANE; b += 2 * LANE; c += 4 * LANE;                                      \
        asm volatile("mma.sync.aligned." what " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"         \
                     : "=f"(o[0]), "=f"(o[1]), "=f"(o[2]), "=f"(o[3])                                              \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),     \
                       "f"(c[2]), "f"(c[3]));                                                                      \
    }
MMA_F_2_1(mma_f16_k8, "m16n8k8.row.col.f32.f16.f16.f32")
MMA_F_4_2(mma_f16_k16, "m16n8k16.row.col.f32.f16.f16.f32")
MMA_F_2_1(mma_bf16_k8, "m16n8k8.row.col.f32.bf16.bf16.f32")
MMA_F_4_2(mma_bf16_k16, "m16n8k16.row.col.f32.bf16.bf16.f32")
MMA_F_2_1(mma_tf32_k4, "m16n8k4.row.col.f32.tf32.tf32.f32")
MMA_F_4_2(mma_tf32_k8, "m16n8k8.row.col.f32.tf32.tf32.f32")
MMA_F_4_2(mma_e4m3_k32, "m16n8k32.row.col.f32.e4m3.e4m3.f32")
MMA_F_4_2(mma_e5m2_k32, "m16n8k32.row.col.f32.e5m2.e4m3.f32")
MMA_2_2_1_4(mma_s8_k16, "m16n8k16.row.col.s32.s8.s8.s32")
MMA_4_2_4(mma_s8_k32, "m16n8k32.row.col.satfinite.s32.s8.s8.s32")
MMA_4_2_4(mma_u8_k32, "m16n8k32.row.col.s32.u8.s8.s32")
MMA_2_2_1_4(mma_s4_k32, "m16n8k32.row.col.s32.s4.s4.s32")
MMA_4_2_4(mma_u4_k64, "m16n8k64.row.col.s32.u4.s4.s32")

__global__ void mma_f16_sums(const u32 *a, const u32 *b, const u32 *c, u32 *d) {
    u32 *o = d + 2 * LANE; a += 4 * LANE; b += 2 * LANE; c += 2 * LANE;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%8,%9};"
                 : "=r"(o[0]), "=r"(o[1])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]));
}

__global__ void mma_s8_m8(const u32 *a, const u32 *b, const u32 *c, u32 *d) {
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.u8.s32 {%0,%1}, {%2}, {%3}, {%4,%5};"
                 : "=r"(d[2 * LANE]), "=r"(d[2 * LANE + 1])
                 : "r"(a[LANE]), "r"(b[LANE]), "r"(c[2 * LANE]), "r"(c[2 * LANE + 1]));
}

__global__ void mma_s4_m8(const u32 *a, const u32 *b, const u32 *c, u32 *d) {
    asm volatile("mma.sync.aligned.m8n8k32.row.col.s32.s4.u4.s32 {%0,%1}, {%2}, {%3}, {%4,%5};"
                 : "=r"(d[2 * LANE]), "=r"(d[2 * LANE + 1])
                 : "r"(a[LANE]), "r"(b[LANE]), "r"(c[2 * LANE]), "r"(c[2 * LANE + 1]));
}

// Four products, one for each quad pair.
#define VOLTA(name, layouts)                                                                                       \
    __global__ void name(const u32 *a, const u32 *b, const float *c, float *d) {                                   \
        float *o = d + 8 * LANE; a += 2 * LANE; b += 2 * LANE; c += 8 * LANE;                                      \
        asm volatile("mma.sync.aligned.m8n8k4." layouts ".f32.f16.f16.f32 {%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9}, "    \
                     "{%10,%11}, {%12,%13,%14,%15,%16,%17,%18,%19};"                                               \
                     : "=f"(o[0]), "=f"(o[1]), "=f"(o[2]), "=f"(o[3]), "=f"(o[4]), "=f"(o[5]), "=f"(o[6]), "=f"(o[7]) \
                     : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]),     \
                       "f"(c[4]), "f"(c[5]), "f"(c[6]), "f"(c[7]));                                                \
    }
VOLTA(mma_volta_rc, "row.col")
VOLTA(mma_volta_cr, "col.row")

__global__ void mma_f64_m8(const double *a, const double *b, const double *c, double *d) {
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%4,%5};"
                 : "=d"(d[2 * LANE]), "=d"(d[2 * LANE + 1])
                 : "d"(a[LANE]), "d"(b[LANE]), "d"(c[2 * LANE]), "d"(c[2 * LANE + 1]));
}

__global__ void mma_f64_k16(const double *a, const double *b, const double *c, double *d) {
    double *o = d + 4 * LANE; a += 8 * LANE; b += 4 * LANE; c += 4 * LANE;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%5,%6,%7,%8,%9,%10,%11}, "
                 "{%12,%13,%14,%15}, {%16,%17,%18,%19};"
                 : "=d"(o[0]), "=d"(o[1]), "=d"(o[2]), "=d"(o[3])
                 : "d"(a[0]), "d"(a[1]), "d"(a[2]), "d"(a[3]), "d"(a[4]), "d"(a[5]), "d"(a[6]), "d"(a[7]),
                   "d"(b[0]), "d"(b[1]), "d"(b[2]), "d"(b[3]), "d"(c[0]), "d"(c[1]), "d"(c[2]), "d"(c[3]));
}

// wmma: D = A B + C of whole matrices in memory; fragments are the implementation's own.
#define WMMA(name, M, N, K, ta, tc, la, lb, part)                                                                  \
    __global__ void name(const ta *a, const ta *b, const tc *c, tc *d) {                                           \
        using namespace nvcuda::wmma;                                                                              \
        fragment<matrix_a, M, N, K, part, la> fa; fragment<matrix_b, M, N, K, part, lb> fb;                        \
        fragment<accumulator, M, N, K, tc> fc;                                                                     \
        load_matrix_sync(fa, a, std_row(fa) ? K : M); load_matrix_sync(fb, b, std_row(fb) ? N : K);          \
        load_matrix_sync(fc, c, N, mem_row_major);                                                                 \
        mma_sync(fc, fa, fb, fc); store_matrix_sync(d, fc, M, mem_col_major);                                      \
    }
}
template <class U, int M, int N, int K, class T> __device__ bool std_row(nvcuda::wmma::fragment<U, M, N, K, T, nvcuda::wmma::row_major> &) { return true; }
template <class U, int M, int N, int K, class T> __device__ bool std_row(nvcuda::wmma::fragment<U, M, N, K, T, nvcuda::wmma::col_major> &) { return false; }
extern "C" {
WMMA(wmma_f16, 16, 16, 16, __half, float, row_major, col_major, __half)
WMMA(wmma_f16_tall, 32, 8, 16, __half, float, col_major, row_major, __half)
WMMA(wmma_f16_wide, 8, 32, 16, __half, __half, row_major, row_major, __half)
WMMA(wmma_bf16, 16, 16, 16, __nv_bfloat16, float, row_major, col_major, __nv_bfloat16)
WMMA(wmma_tf32, 16, 16, 8, float, float, row_major, row_major, precision::tf32)
WMMA(wmma_s8, 16, 16, 16, signed char, int, row_major, col_major, signed char)
WMMA(wmma_u8_tall, 32, 8, 16, unsigned char, int, col_major, col_major, unsigned char)
WMMA(wmma_f64, 8, 8, 4, double, double, row_major, col_major, double)

// Elements of a fragment are counted and scaled one by one.
__global__ void wmma_elements(const __half *a, __half *d, float *sum) {
    using namespace nvcuda::wmma;
    fragment<matrix_a, 16, 16, 16, __half, row_major> fa;
    fragment<matrix_b, 16, 16, 16, __half, col_major> fb;
    fragment<accumulator, 16, 16, 16, float> fc;
    fragment<accumulator, 16, 16, 16, __half> out;
    load_matrix_sync(fa, a, 16); fill_fragment(fb, 1.0f); fill_fragment(fc, 0.5f);
    for (int i = 0; i < fa.num_elements; i++) fa.x[i] = __hmul(fa.x[i], 2.0f);
    mma_sync(fc, fa, fb, fc);
    for (int i = 0; i < out.num_elements; i++) { out.x[i] = fc.x[i]; atomicAdd(sum, 1.0f); }
    store_matrix_sync(d, out, 16, mem_row_major);
}

__global__ void matrices(const u32 *a, u32 *d) {
    __shared__ __align__(16) u32 s[128], t[128];
    for (int i = LANE; i < 128; i += 32) { s[i] = a[i]; t[i] = 0; }
    __syncwarp();
    u32 from = (u32)__cvta_generic_to_shared(s + 4 * LANE), to = (u32)__cvta_generic_to_shared(t + 4 * LANE);
    u32 w, x, y, z, m;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(w), "=r"(x), "=r"(y), "=r"(z) : "r"(from));
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(m) : "r"(x));
    d[5 * LANE] = w; d[5 * LANE + 1] = x; d[5 * LANE + 2] = y; d[5 * LANE + 3] = z; d[5 * LANE + 4] = m;
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" :: "r"(to), "r"(w), "r"(x), "r"(y), "r"(z));
    asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" :: "r"(to), "r"(m));
    __syncwarp();
    for (int i = LANE; i < 128; i += 32) d[160 + i] = t[i];
}

// 8-bit floats, packed conversions and the rest of the small types.
__global__ void fp8(const float *a, unsigned short *out, u32 *halves, int n) {
    int i = AT;
    if (i >= n) return;
    float2 v = make_float2(a[2 * i], a[2 * i + 1]);
    out[4 * i] = __nv_cvt_float2_to_fp8x2(v, __NV_SATFINITE, __NV_E4M3);
    out[4 * i + 1] = __nv_cvt_float2_to_fp8x2(v, __NV_SATFINITE, __NV_E5M2);
    __half2_raw h = __floats2half2_rn(v.x, v.y);
    out[4 * i + 2] = __nv_cvt_halfraw2_to_fp8x2(h, __NV_SATFINITE, __NV_E4M3);
    out[4 * i + 3] = __nv_cvt_halfraw2_to_fp8x2(h, __NV_SATFINITE, __NV_E5M2);
    __half2_raw p = __nv_cvt_fp8x2_to_halfraw2(out[4 * i], __NV_E4M3), q = __nv_cvt_fp8x2_to_halfraw2(out[4 * i + 1], __NV_E5M2);
    halves[2 * i] = p.x | (u32)p.y << 16;
    halves[2 * i + 1] = q.x | (u32)q.y << 16;
}

__global__ void fp8_all(u32 *halves) {
    u32 i = AT;
    unsigned short pair = i | i << 8;
    u32 p, q;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(p) : "h"(pair));
    asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(q) : "h"(pair));
    halves[2 * i] = p; halves[2 * i + 1] = q;
}

__global__ void packs(const int *a, const int *b, u32 *out, int n) {
    int i = AT;
    if (i >= n) return;
    u32 *o = out + 4 * i;
    asm("cvt.pack.sat.s16.s32 %0, %1, %2;" : "=r"(o[0]) : "r"(a[i]), "r"(b[i]));
    asm("cvt.pack.sat.u16.s32 %0, %1, %2;" : "=r"(o[1]) : "r"(a[i]), "r"(b[i]));
    asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;" : "=r"(o[2]) : "r"(a[i]), "r"(b[i]), "r"(0x1234abcd));
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, %3;" : "=r"(o[3]) : "r"(a[i]), "r"(b[i]), "r"(0x1234abcd));
}

__global__ void signs(const unsigned short *a, const unsigned short *b, unsigned short *out, int n) {
    int i = AT;
    if (i >= n) return;
    unsigned short *o = out + 6 * i;
    asm("min.xorsign.abs.f16 %0, %1, %2;" : "=h"(o[0]) : "h"(a[i]), "h"(b[i]));
    asm("max.xorsign.abs.f16 %0, %1, %2;" : "=h"(o[1]) : "h"(a[i]), "h"(b[i]));
    asm("max.NaN.xorsign.abs.f16 %0, %1, %2;" : "=h"(o[2]) : "h"(a[i]), "h"(b[i]));
    asm("min.xorsign.abs.bf16 %0, %1, %2;" : "=h"(o[3]) : "h"(a[i]), "h"(b[i]));
    u32 x = a[i] | (u32)b[i] << 16, y = b[i] | (u32)a[i] << 16, z;
    asm("max.xorsign.abs.f16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
    o[4] = z; o[5] = z >> 16;
}

__global__ void tf32(const float *a, u32 *out, int n) { int i = AT; if (i < n) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(out[i]) : "f"(a[i])); }

__global__ void redux(const u32 *a, u32 *out) {
    u32 x = a[AT], *o = out + 8 * AT;
    o[0] = __reduce_add_sync(~0u, x); o[1] = __reduce_min_sync(~0u, x); o[2] = __reduce_max_sync(~0u, x);
    o[3] = __reduce_min_sync(~0u, (int)x); o[4] = __reduce_max_sync(~0u, (int)x);
    o[5] = __reduce_and_sync(~0u, x); o[6] = __reduce_or_sync(~0u, x); o[7] = __reduce_xor_sync(~0u, x);
}

// Each thread adds (1, its number) to a pair of 64-bit numbers; vectors of floats are added in one instruction.
__global__ void wide_atomics(u64 *pair, float *sums, u64 *last) {
    u64 low = 0, high = 0, was[2];
    for (bool done = false; !done;) {
        asm volatile("{.reg .b128 c, n, o; mov.b128 c, {%2, %3}; mov.b128 n, {%4, %5};\n"
                     "atom.relaxed.gpu.global.cas.b128 o, [%6], c, n; mov.b128 {%0, %1}, o;}"
                     : "=l"(was[0]), "=l"(was[1]) : "l"(low), "l"(high), "l"(low + 1), "l"(high + AT), "l"(pair) : "memory");
        done = was[0] == low && was[1] == high;
        low = was[0]; high = was[1];
    }
    if (AT == 0) {
        asm volatile("{.reg .b128 n, o; mov.b128 n, {%2, %3}; atom.relaxed.gpu.global.exch.b128 o, [%4], n; mov.b128 {%0, %1}, o;}"
                     : "=l"(last[0]), "=l"(last[1]) : "l"(7ull), "l"(9ull), "l"(last + 2) : "memory");
    }
    atomicAdd((float4 *)sums, make_float4(1, 2, 3, 0.5f));
    atomicAdd((float2 *)(sums + 4), make_float2(1, AT));
}

__global__ void copies(const float4 *a, float4 *out, int n) {
    __shared__ float4 tile[2][64];
    int i = threadIdx.x, at = 0;
    __pipeline_memcpy_async(&tile[0][i], a + i, 16);
    __pipeline_commit();
    for (int base = 0; base < n; base += 64, at ^= 1) {
        if (base + 64 < n) __pipeline_memcpy_async(&tile[at ^ 1][i], a + base + 64 + i, 16);
        __pipeline_commit();
        __pipeline_wait_prior(1);
        __syncthreads();
        float4 v = tile[at][63 - i];
        out[base + i] = make_float4(v.x + v.y, v.y, v.z, v.w);
        __syncthreads();
    }
}

// A barrier in shared memory: half of the block makes, the other half takes.
__global__ void mbarrier(const int *a, int *out, int rounds) {
    __shared__ u64 full, empty;
    __shared__ int slot[64];
    u32 f = (u32)__cvta_generic_to_shared(&full), e = (u32)__cvta_generic_to_shared(&empty), i = threadIdx.x % 64;
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared.b64 [%0], 64;" :: "r"(f) : "memory");
        asm volatile("mbarrier.init.shared.b64 [%0], 64;" :: "r"(e) : "memory");
    }
    __syncthreads();
    int sum = 0;
    for (int r = 0; r < rounds; r++) {
        u32 bar = threadIdx.x < 64 ? e : f, parity = threadIdx.x < 64 ? (r & 1) ^ 1 : r & 1, done = 0;
        while (!done)
            asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                         : "=r"(done) : "r"(bar), "r"(parity) : "memory");
        if (threadIdx.x < 64) slot[i] = a[64 * r + i]; else sum += slot[63 - i];
        u64 token;
        asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(token) : "r"(threadIdx.x < 64 ? f : e) : "memory");
    }
    if (threadIdx.x >= 64) out[i] = sum;
}

__global__ void elect(u32 *out) {
    u32 leader, chosen;
    if (LANE < 3) return;
    asm volatile("{.reg .pred p; elect.sync %0|p, %2; selp.u32 %1, 1, 0, p;}" : "=r"(leader), "=r"(chosen) : "r"(0xfffffff8u));
    out[2 * LANE] = leader; out[2 * LANE + 1] = chosen;
}

// Approximations, of which the ISA gives bounds.
__global__ void approximations(const float *a, float *out, int n) {
    int i = AT;
    if (i >= n) return;
    float *o = out + 8 * i, x = a[i];
    asm("ex2.approx.f32 %0, %1;" : "=f"(o[0]) : "f"(x));
    asm("lg2.approx.f32 %0, %1;" : "=f"(o[1]) : "f"(fabsf(x)));
    asm("sin.approx.f32 %0, %1;" : "=f"(o[2]) : "f"(x));
    asm("cos.approx.f32 %0, %1;" : "=f"(o[3]) : "f"(x));
    asm("tanh.approx.f32 %0, %1;" : "=f"(o[4]) : "f"(x));
    asm("rcp.approx.f32 %0, %1;" : "=f"(o[5]) : "f"(x));
    asm("sqrt.approx.f32 %0, %1;" : "=f"(o[6]) : "f"(fabsf(x)));
    asm("div.full.f32 %0, %1, %2;" : "=f"(o[7]) : "f"(x), "f"(x + 3.0f));
}

// Registers that are vectors.
__global__ void vector_registers(const int4 *a, int *out) {
    asm volatile("{.reg .v4 .s32 v; .reg .s32 t;\n"
                 "ld.global.v4.s32 v, [%0]; add.s32 t, v.x, v.y; add.s32 t, t, v.z; mul.lo.s32 v.w, v.w, 3;\n"
                 "add.s32 v.x, t, v.w; st.global.s32 [%1], v.x;}" :: "l"(a + LANE), "l"(out + LANE) : "memory");
}

}
