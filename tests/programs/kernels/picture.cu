// SPDX-License-Identifier: Apache-2.0 OR MIT
// Kernels of the program `picture`. A pixel is R, G, B, A from the lowest byte up. Everything is integer arithmetic,
// or single-precision arithmetic that IEEE 754 rounds exactly, so that every device makes the same picture.
#include "device.h"

#define RADIUS 3
#define BLOCK 128

static __device__ inline u32 channel(u32 pixel, u32 n) { return pixel >> (8 * n) & 255; }
static __device__ inline u32 pack(u32 r, u32 g, u32 b, u32 a) { return r | g << 8 | b << 16 | a << 24; }
static __device__ inline int clamp(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

// Weights of the blur: row 6 of Pascal's triangle, sum 64.
__constant__ u32 weights[2 * RADIUS + 1] = {1, 6, 15, 20, 15, 6, 1};

// Brightness of each pixel after ITU-R BT.601, in eighths of a bit: (77 R + 150 G + 29 B + 128) / 256.
extern "C" __global__ void luma(const u32 *pixels, u8 *out, u32 count)
{
    u32 i = index_x();
    if (i >= count)
        return;
    u32 p = pixels[i];
    out[i] = (77 * channel(p, 0) + 150 * channel(p, 1) + 29 * channel(p, 2) + 128) >> 8;
}

static __device__ inline u32 weighted(const u32 *line)
{
    u32 r = 32, g = 32, b = 32;
#pragma unroll
    for (int k = 0; k < 2 * RADIUS + 1; k++) {
        u32 p = line[k];
        r += weights[k] * channel(p, 0);
        g += weights[k] * channel(p, 1);
        b += weights[k] * channel(p, 2);
    }
    return pack(r >> 6, g >> 6, b >> 6, channel(line[RADIUS], 3));
}

// One pass of the blur along rows: a block of BLOCK threads, a row's part in shared memory, edges repeated.
extern "C" __global__ void blur_rows(const u32 *pixels, u32 *out, u32 width, u32 height)
{
    __shared__ u32 line[BLOCK + 2 * RADIUS];
    int x = index_x(), first = block_x() * BLOCK - RADIUS;
    const u32 *row = pixels + (u64)block_y() * width;
    for (u32 k = thread_x(); k < BLOCK + 2 * RADIUS; k += BLOCK)
        line[k] = row[clamp(first + (int)k, 0, width - 1)];
    barrier();
    if (x < width)
        out[(u64)block_y() * width + x] = weighted(line + thread_x());
}

// The other pass, along columns.
extern "C" __global__ void blur_columns(const u32 *pixels, u32 *out, u32 width, u32 height)
{
    __shared__ u32 line[BLOCK + 2 * RADIUS];
    int y = index_x(), first = block_x() * BLOCK - RADIUS;
    for (u32 k = thread_x(); k < BLOCK + 2 * RADIUS; k += BLOCK)
        line[k] = pixels[(u64)clamp(first + (int)k, 0, height - 1) * width + block_y()];
    barrier();
    if (y < height)
        out[(u64)y * width + block_y()] = weighted(line + thread_x());
}

// Counts each brightness: first a block's own counts in shared memory, then everybody's. 256 threads.
extern "C" __global__ void histogram(const u8 *luma, u32 *counts, u32 count)
{
    __shared__ u32 own[256];
    own[thread_x()] = 0;
    barrier();
    for (u32 i = index_x(); i < count; i += blocks_x() * threads_x())
        add(&own[luma[i]], 1);
    barrier();
    if (own[thread_x()])
        add(&counts[thread_x()], own[thread_x()]);
}

// From counts to the table that spreads brightness evenly. One block of 256 threads; a scan with a barrier a step.
extern "C" __global__ void equalise(const u32 *counts, u8 *table, u32 count)
{
    __shared__ u32 sums[256];
    __shared__ u32 lowest;
    u32 i = thread_x(), sum = counts[i];
    if (i == 0)
        lowest = count;
    sums[i] = sum;
    barrier();
    for (u32 step = 1; step < 256; step *= 2) {
        u32 before = i >= step ? sums[i - step] : 0;
        barrier();
        sum += before;
        sums[i] = sum;
        barrier();
    }
    // The first brightness that occurs keeps its count out of the scale.
    if (sum > 0 && (i == 0 || sums[i - 1] == 0))
        lowest = sum;
    barrier();
    u32 scale = count - lowest;
    table[i] = scale == 0 ? i : sum <= lowest ? 0 : (u8)(((u64)(sum - lowest) * 255 + scale / 2) / scale);
}

// Sobel's operator on brightness: the length of the gradient, a correctly rounded root, cut to 255. 16 x 16 threads.
extern "C" __global__ void edges(const u32 *blurred, u8 *out, u32 width, u32 height)
{
    __shared__ int tile[18][19];
    int x0 = (int)(block_x() * 16) - 1, y0 = (int)(block_y() * 16) - 1;
    for (u32 k = thread_y() * 16 + thread_x(); k < 18 * 18; k += 256) {
        u32 p = blurred[(u64)clamp(y0 + (int)(k / 18), 0, height - 1) * width + clamp(x0 + (int)(k % 18), 0, width - 1)];
        tile[k / 18][k % 18] = (77 * channel(p, 0) + 150 * channel(p, 1) + 29 * channel(p, 2) + 128) >> 8;
    }
    barrier();
    u32 x = index_x(), y = index_y();
    if (x >= width || y >= height)
        return;
    int tx = thread_x(), ty = thread_y();
    int across = tile[ty][tx + 2] + 2 * tile[ty + 1][tx + 2] + tile[ty + 2][tx + 2] -
                 tile[ty][tx] - 2 * tile[ty + 1][tx] - tile[ty + 2][tx];
    int down = tile[ty + 2][tx] + 2 * tile[ty + 2][tx + 1] + tile[ty + 2][tx + 2] -
               tile[ty][tx] - 2 * tile[ty][tx + 1] - tile[ty][tx + 2];
    // Below 2^21, so exact as a float.
    float length = __nvvm_sqrt_rn_f((float)(across * across + down * down));
    out[(u64)y * width + x] = length < 255.0f ? (u8)length : 255;
}

// The picture: blurred colours at the evened brightness, drawn over with dark edges.
extern "C" __global__ void compose(const u32 *blurred, const u8 *luma, const u8 *edges, const u8 *table, u32 *out, u32 count)
{
    u32 i = index_x();
    if (i >= count)
        return;
    u32 p = blurred[i], gain = table[luma[i]], base = luma[i] ? luma[i] : 1, ink = 255 - edges[i];
    u32 colour[3];
#pragma unroll
    for (u32 n = 0; n < 3; n++) {
        u32 bright = (channel(p, n) * gain + base / 2) / base;
        // Half the evened colour, half the original, or noise in dark places would shine.
        u32 mixed = ((bright > 255 ? 255 : bright) + channel(p, n) + 1) / 2;
        colour[n] = (mixed * ink + 127) / 255;
    }
    out[i] = pack(colour[0], colour[1], colour[2], channel(p, 3));
}

// What --json tells of a picture. sums: brightness, ink; ink's maximum; pixels with ink above 64. 256 threads.
extern "C" __global__ void measure(const u8 *luma, const u8 *edges, u64 *sums, u32 count)
{
    __shared__ u64 bright[256], ink[256];
    u32 t = thread_x(), most = 0, strong = 0;
    u64 a = 0, b = 0;
    for (u32 i = index_x(); i < count; i += blocks_x() * 256) {
        a += luma[i];
        b += edges[i];
        most = edges[i] > most ? edges[i] : most;
        strong += edges[i] > 64;
    }
    bright[t] = a;
    ink[t] = b;
    raise((u32 *)&sums[2], most);
    add(&sums[3], strong);
    for (u32 half = 128; half > 0; half /= 2) {
        barrier();
        if (t < half) {
            bright[t] += bright[t + half];
            ink[t] += ink[t + half];
        }
    }
    if (t == 0) {
        add(&sums[0], bright[0]);
        add(&sums[1], ink[0]);
    }
}
