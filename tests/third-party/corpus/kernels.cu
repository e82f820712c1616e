// SPDX-License-Identifier: Apache-2.0 OR MIT
// Kernels for corpus_judge.py, compiled by NVRTC. Each is launched once; what it computes is written there in NumPy.
#include <cuda_fp16.h>
#include <cuda_bf16.h>

#define AT (blockIdx.x * blockDim.x + threadIdx.x)
typedef unsigned int u32;
typedef unsigned long long u64;

extern "C" {

__global__ void saxpy(float a, const float *x, float *y, int n) { int i = AT; if (i < n) y[i] = fmaf(a, x[i], y[i]); }

__global__ void matmul(const float *a, const float *b, float *c, int n) {
    __shared__ float s[16][16], t[16][17];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
    float sum = 0;
    for (int k = 0; k < n; k += 16) {
        s[y][x] = a[row * n + k + x];
        t[y][x] = b[(k + y) * n + column];
        __syncthreads();
        for (int i = 0; i < 16; i++) sum = fmaf(s[y][i], t[i][x], sum);
        __syncthreads();
    }
    c[row * n + column] = sum;
}

__global__ void reduce_shuffle(const int *a, int *out, int n) {
    int sum = 0;
    for (int i = AT; i < n; i += gridDim.x * blockDim.x) sum += a[i];
    for (int d = 16; d; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
    if (threadIdx.x % 32 == 0) atomicAdd(out, sum);
}

__global__ void scan_block(const u32 *a, u32 *out) {
    __shared__ u32 sums[32];
    u32 i = threadIdx.x, lane = i % 32, warp = i / 32, v = a[i];
    for (int d = 1; d < 32; d *= 2) { u32 o = __shfl_up_sync(~0u, v, d); if (lane >= d) v += o; }
    if (lane == 31) sums[warp] = v;
    __syncthreads();
    if (warp == 0) {
        u32 s = sums[lane];
        for (int d = 1; d < 32; d *= 2) { u32 o = __shfl_up_sync(~0u, s, d); if (lane >= d) s += o; }
        sums[lane] = s;
    }
    __syncthreads();
    out[i] = v + (warp ? sums[warp - 1] : 0);
}

__global__ void histogram(const unsigned char *a, u32 *bins, int n) {
    __shared__ u32 mine[256];
    mine[threadIdx.x] = 0;
    __syncthreads();
    for (int i = AT; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[a[i]], 1u);
    __syncthreads();
    atomicAdd(&bins[threadIdx.x], mine[threadIdx.x]);
}

__global__ void bitonic(u32 *a) {
    __shared__ u32 s[1024];
    u32 i = threadIdx.x;
    s[i] = a[i];
    for (u32 k = 2; k <= 1024; k *= 2)
        for (u32 j = k / 2; j; j /= 2) {
            __syncthreads();
            u32 o = i ^ j;
            if (o > i && (s[i] > s[o]) == !(i & k)) { u32 t = s[i]; s[i] = s[o]; s[o] = t; }
        }
    __syncthreads();
    a[i] = s[i];
}

__global__ void transpose(const double *in, double *out, int w, int h) {
    __shared__ double tile[16][17];
    int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
    if (x < w && y < h) tile[threadIdx.y][threadIdx.x] = in[y * w + x];
    __syncthreads();
    x = blockIdx.y * 16 + threadIdx.x; y = blockIdx.x * 16 + threadIdx.y;
    if (x < h && y < w) out[y * h + x] = tile[threadIdx.x][threadIdx.y];
}

__global__ void mandelbrot(int *out, int w, int h, int most) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, n = 0;
    double a = -2.0 + 3.0 * x / w, b = -1.0 + 2.0 * y / h, p = 0, q = 0;
    while (n < most && __dadd_rn(__dmul_rn(p, p), __dmul_rn(q, q)) <= 4.0) {
        double t = __dadd_rn(__dsub_rn(__dmul_rn(p, p), __dmul_rn(q, q)), a);
        q = __dadd_rn(__dmul_rn(__dmul_rn(2.0, p), q), b);
        p = t;
        n++;
    }
    if (x < w && y < h) out[y * w + x] = n;
}

__global__ void integers(const int *a, const int *b, int *out, int n) {
    int i = AT;
    if (i >= n) return;
    int x = a[i], y = b[i];
    u32 h = x;
    h ^= __mulhi(x, y); h += __umulhi(x, y) * 3u;
    h ^= y ? x / y : 7; h += y ? x % y : 9;
    h ^= y ? (u32)x / (u32)y : 5; h += __popc(x) + 31 * __clz(y) + 7 * __ffs(x);
    h ^= __brev(y); h += __byte_perm(x, y, 0x3715); h ^= __funnelshift_l(x, y, 11); h += __sad(x, y, 3);
    h ^= min(x, y) + max((u32)x, (u32)y); h += __rhadd(x, y) ^ __hadd(x, y); h ^= __vaddss4(x, y);
    out[i] = h;
}

__global__ void wide(const u64 *a, const u64 *b, u64 *out, int n) {
    int i = AT;
    if (i >= n) return;
    u64 x = a[i], y = b[i], h = __umul64hi(x, y);
    h ^= y ? x / y : 1; h += y ? x % y : 2; h ^= (u64)((long long)x >> (y & 63)); h += x << (y & 63);
    h ^= __popcll(x) + 100 * __clzll(y) + 10000 * __ffsll(x); h += __brevll(y);
    out[i] = h;
}

__global__ void dots(const int *a, const int *b, int *out, int n) {
    int i = AT;
    if (i < n) out[i] = __dp4a(a[i], b[i], 7) ^ (int)__dp2a_lo((u32)a[i], (u32)b[i], 3u);
}

__global__ void rounding(const float *a, const float *b, float *out, int n) {
    int i = AT;
    if (i >= n) return;
    out[8 * i + 0] = __fadd_rn(a[i], b[i]); out[8 * i + 1] = __fadd_rz(a[i], b[i]);
    out[8 * i + 2] = __fmul_ru(a[i], b[i]); out[8 * i + 3] = __fmul_rd(a[i], b[i]);
    out[8 * i + 4] = __fdiv_rn(a[i], b[i]); out[8 * i + 5] = __fsqrt_rn(fabsf(a[i]));
    out[8 * i + 6] = fmaf(a[i], b[i], -1.0f); out[8 * i + 7] = __frcp_rn(b[i]);
}

__global__ void doubles(const double *a, const double *b, double *out, int n) {
    int i = AT;
    if (i >= n) return;
    out[4 * i] = a[i] / b[i]; out[4 * i + 1] = sqrt(fabs(a[i])); out[4 * i + 2] = fma(a[i], b[i], 1.0); out[4 * i + 3] = rint(a[i] * 100);
}

__global__ void functions(const float *a, float *out, int n) {
    int i = AT;
    if (i >= n) return;
    float x = a[i];
    out[8 * i + 0] = sinf(x); out[8 * i + 1] = cosf(x); out[8 * i + 2] = expf(x); out[8 * i + 3] = logf(fabsf(x));
    out[8 * i + 4] = tanhf(x); out[8 * i + 5] = powf(fabsf(x), 1.5f); out[8 * i + 6] = erff(x); out[8 * i + 7] = atan2f(x, 2.0f);
}

__global__ void fast(const float *a, float *out, int n) {
    int i = AT;
    if (i >= n) return;
    out[4 * i] = __sinf(a[i]); out[4 * i + 1] = __expf(a[i]); out[4 * i + 2] = __log2f(fabsf(a[i])); out[4 * i + 3] = rsqrtf(fabsf(a[i]));
}

__global__ void functions_d(const double *a, double *out, int n) {
    int i = AT;
    if (i >= n) return;
    out[4 * i] = sin(a[i]); out[4 * i + 1] = exp(a[i]); out[4 * i + 2] = log1p(fabs(a[i])); out[4 * i + 3] = cbrt(a[i]);
}

__global__ void halves(const __half *a, const __half *b, __half *out, int n) {
    int i = AT;
    if (i >= n) return;
    out[4 * i] = __hadd(a[i], b[i]); out[4 * i + 1] = __hmul(a[i], b[i]);
    out[4 * i + 2] = __hfma(a[i], b[i], a[i]); out[4 * i + 3] = __float2half_rn(__half2float(a[i]) * 3.0f);
}

__global__ void halves2(const __half2 *a, const __half2 *b, __half2 *out, int n) { int i = AT; if (i < n) out[i] = __hfma2(a[i], b[i], __hmax2(a[i], b[i])); }

__global__ void bfloats(const float *a, __nv_bfloat16 *out, int n) { int i = AT; if (i < n) out[i] = __float2bfloat16_rn(a[i]); }

__global__ void conversions(const float *a, int *out, int n) {
    int i = AT;
    if (i >= n) return;
    out[6 * i] = (int)a[i]; out[6 * i + 1] = __float2int_rn(a[i]); out[6 * i + 2] = (int)(u32)__float2uint_ru(a[i]);
    out[6 * i + 3] = (int)(signed char)a[i]; out[6 * i + 4] = (int)(__float2ll_rd(a[i]) >> 3); out[6 * i + 5] = __float_as_int((float)(int)a[i]);
}

__global__ void votes(const int *a, u32 *out) {
    int x = a[AT];
    u32 b = __ballot_sync(~0u, x & 1), m = __match_any_sync(~0u, x & 3);
    out[AT] = b ^ (m << 1) ^ (__any_sync(~0u, x > 250) ? 4 : 0) ^ (__all_sync(~0u, x >= 0) ? 8 : 0) ^ __shfl_xor_sync(~0u, (u32)x, 5);
}

__global__ void diverge(const int *a, int *out, int n) {
    int i = AT, x, steps = 0;
    if (i >= n) return;
    for (x = a[i]; x > 1; steps++) {
        if (steps > 500) break;
        switch (x % 4) { case 0: x /= 4; steps++; break; case 2: x /= 2; break; default: x = 3 * x + 1; }
    }
    out[i] = steps;
}

__device__ int ackermann(int m, int n) { return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)); }
__global__ void recursion(int *out) { out[threadIdx.x] = ackermann(2, threadIdx.x % 8); }

typedef int (*operation)(int, int);
__device__ int plus(int a, int b) { return a + b; }
__device__ int times(int a, int b) { return a * b; }
__device__ int minus(int a, int b) { return a - b; }
__device__ operation table[3] = {plus, times, minus};
__global__ void pointers(const int *a, int *out, int n) { int i = AT; if (i < n) out[i] = table[a[i] % 3](a[i], i); }

__global__ void atomics(int *cells, u64 *wide, float *real, int n) {
    int i = AT;
    if (i >= n) return;
    atomicAdd(&cells[0], i); atomicMax(&cells[1], i); atomicMin(&cells[2], -i); atomicXor(&cells[3], i); atomicOr(&cells[4], i & 0xf0);
    atomicInc((u32 *)&cells[5], 99); atomicAdd(wide, (u64)i << 20); atomicAdd(real, 1.0f);
    int old, seen = cells[6];
    do { old = seen; seen = atomicCAS(&cells[6], old, old + 2); } while (seen != old);
}

__global__ void local_arrays(const int *a, int *out, int n) {
    int i = AT, stack[32], top = 0, sum = 0;
    if (i >= n) return;
    for (int x = a[i]; x; x /= 3) stack[top++ & 31] = x % 3;
    while (top) { int d = stack[--top & 31]; sum = sum * 5 + d; }
    out[i] = sum;
}

struct Body { float x, y, z, m; };
__global__ void nbody(const Body *all, float *out, int n) {
    int i = AT;
    if (i >= n) return;
    float ax = 0;
    for (int j = 0; j < n; j++) {
        float dx = all[j].x - all[i].x, dy = all[j].y - all[i].y, dz = all[j].z - all[i].z;
        float r = rsqrtf(dx * dx + dy * dy + dz * dz + 0.01f);
        ax += all[j].m * dx * r * r * r;
    }
    out[i] = ax;
}

__global__ void vectors(const float4 *a, float4 *out, int n) { int i = AT; if (i < n) { float4 v = a[i]; out[n - 1 - i] = make_float4(v.w, v.z, v.y, v.x); } }

__global__ void heap(int *out) {
    int *p = (int *)malloc(16 * sizeof(int)), sum = 0;
    for (int k = 0; p && k < 16; k++) p[k] = k * AT;
    for (int k = 0; p && k < 16; k++) sum += p[k];
    free(p);
    out[AT] = sum;
}

__global__ void last_block(const int *a, int *part, u32 *done, int *out, int n) {
    __shared__ int s[128];
    __shared__ bool last;
    s[threadIdx.x] = AT < n ? a[AT] : 0;
    for (int h = 64; h; h /= 2) { __syncthreads(); if (threadIdx.x < h) s[threadIdx.x] += s[threadIdx.x + h]; }
    if (threadIdx.x == 0) { part[blockIdx.x] = s[0]; __threadfence(); last = atomicAdd(done, 1u) == gridDim.x - 1; }
    __syncthreads();
    if (last && threadIdx.x == 0) { int sum = 0; for (int b = 0; b < gridDim.x; b++) sum += ((volatile int *)part)[b]; *out = sum; }
}

// Video instructions: a row of results for each number.
#define VIDEO(op) { u32 d = c; asm volatile(op : "+r"(d) : "r"(a), "r"(b), "r"(c)); *out++ = d; }
__global__ void video(const u32 *as, const u32 *bs, const u32 *cs, u32 *all, int n) {
    int i = AT;
    if (i >= n) return;
    u32 a = as[i], b = bs[i], c = cs[i], *out = all + 36 * i;
    VIDEO("vadd.u32.u32.u32 %0, %1, %2;") VIDEO("vadd.s32.s32.u32.sat %0, %1, %2;") VIDEO("vadd.u32.s32.s32.sat %0, %1.b1, %2.h1;")
    VIDEO("vadd.s32.s32.s32.add %0, %1.h0, %2.b3, %3;") VIDEO("vsub.s32.u32.u32 %0.b2, %1.b0, %2.b0, %3;")
    VIDEO("vabsdiff.u32.s32.s32 %0, %1, %2;")
    VIDEO("vabsdiff.s32.u32.u32.sat.max %0, %1.h1, %2.h0, %3;") VIDEO("vmin.s32.s32.s32 %0, %1, %2;") VIDEO("vmax.u32.u32.u32.add %0, %1.b2, %2.b1, %3;")
    VIDEO("vset.s32.s32.lt %0, %1, %2;") VIDEO("vset.u32.u32.ge.add %0, %1.b0, %2.b1, %3;") VIDEO("vset.u32.u32.ne %0.h0, %1, %2, %3;")
    VIDEO("vshl.u32.u32.u32.clamp %0, %1, %2.b0;") VIDEO("vshl.u32.u32.u32.wrap %0, %1, %2.b1;") VIDEO("vshr.s32.s32.u32.wrap %0, %1, %2.b0;")
    VIDEO("vshr.u32.u32.u32.clamp.add %0, %1, %2.b3, %3;") VIDEO("vmad.s32.s32.s32 %0, %1.h0, %2.h1, %3;")
    VIDEO("vadd2.u32.u32.u32 %0, %1, %2, %3;") VIDEO("vadd2.s32.s32.s32.sat %0, %1, %2, %3;") VIDEO("vsub2.s32.s32.s32.add %0, %1, %2, %3;")
    VIDEO("vavrg2.s32.s32.s32 %0, %1, %2, %3;") VIDEO("vabsdiff2.u32.u32.u32.add %0, %1, %2, %3;") VIDEO("vmin2.s32.s32.s32 %0.h1, %1, %2, %3;")
    VIDEO("vmax2.u32.u32.u32 %0, %1.h03, %2.h21, %3;") VIDEO("vset2.s32.s32.gt %0, %1, %2, %3;")
    VIDEO("vadd4.u32.u32.u32.sat %0, %1, %2, %3;") VIDEO("vadd4.s32.s32.s32.add %0, %1, %2, %3;") VIDEO("vsub4.s32.s32.s32.sat %0, %1, %2, %3;")
    VIDEO("vavrg4.u32.u32.u32 %0, %1, %2, %3;") VIDEO("vavrg4.s32.s32.s32 %0, %1, %2, %3;") VIDEO("vabsdiff4.u32.u32.u32 %0, %1, %2, %3;")
    VIDEO("vabsdiff4.s32.s32.s32.add %0, %1, %2, %3;") VIDEO("vmin4.u32.u32.u32 %0.b20, %1, %2, %3;") VIDEO("vmax4.s32.s32.s32 %0, %1.b7531, %2.b0246, %3;")
    VIDEO("vset4.u32.u32.le %0, %1, %2, %3;") VIDEO("vset4.s32.s32.eq.add %0.b310, %1, %2, %3;")
}

// A branch to one of many places, by a table.
__global__ void switches(const int *a, int *out, int n) {
    int i = AT, v = i < n ? a[i] : 0, r = 1;
    switch (v & 15) {
    case 0: r = v / 3; break;
    case 1: r = v * 7; break;
    case 2: r = v ^ 0x55; break;
    case 3: r = v << 3;
    case 4: r += 17; break;
    case 5: r = __popc(v); break;
    case 6: r = __clz(v); break;
    case 7: r = v % 11; break;
    case 9: r = -v; break;
    case 10: r = v >> 2; break;
    case 11: r = v | 0x100; break;
    case 12: r = v & 0xff0; break;
    case 13: r = ~v; break;
    default: r = 99;
    }
    if (i < n) out[i] = r;
}

// Shuffles of every mode and width, one after the other; with them what lanes find in common.
__global__ void lanes(const float *a, const int *keys, float *out, u32 *common, int n) {
    int i = AT;
    float v = i < n ? a[i] : 0;
    v += __shfl_down_sync(~0u, v, 16); v = 0.5f * v + __shfl_up_sync(~0u, v, 3); v -= __shfl_xor_sync(~0u, v, 8);
    v = 0.25f * v + __shfl_xor_sync(~0u, v, 1); v += __shfl_down_sync(~0u, v, 2, 8); v -= 0.5f * __shfl_sync(~0u, v, 5, 16);
    __syncthreads();
    v += __shfl_up_sync(~0u, v, 4, 16); v = 0.5f * v + __shfl_down_sync(~0u, v, 1);
    int key = i < n ? keys[i] : 0, all = 0;
    u32 any = __match_any_sync(~0u, key), same = __match_all_sync(~0u, key & 64, &all);
    u32 mask = 0;
    if (key & 1) mask = __activemask();
    long long before = clock64();
    u32 later = clock64() >= before;
    if (i >= n) return;
    out[i] = v;
    common[4 * i] = any; common[4 * i + 1] = same | (u32)all; common[4 * i + 2] = key & 1 ? mask : 0; common[4 * i + 3] = later;
}

// Neighbours in a tile, for some of the threads, from barrier to barrier.
__global__ void tiles(const float *a, float *out, int first, int n) {
    __shared__ float s[3][96];
    int t = threadIdx.x, i = AT;
    float v = i < n ? a[i] : 0, w = 0;
    s[0][t] = v; s[1][t] = 2 * v; s[2][t] = v * v;
    if (t < 32) s[2][64 + t] = 0;
    __syncthreads();
    for (int round = 0; round < 3; round++) {
        if (t < first) w = fmaf(s[0][t], s[1][3], s[2][t + round]) - v;
        __syncthreads();
        s[1][t] = w + s[0][7];
        __syncthreads();
        if (t >= 16) v += s[1][t] * 0.125f;
        __syncthreads();
    }
    if (i < n) out[i] = v + w;
}

}
