// SPDX-License-Identifier: Apache-2.0 OR MIT
// Kernels of the program `opencl-picture`: those of picture.cu, in OpenCL C 1.2. A pixel is R, G, B, A from the lowest byte up.
// Everything is integer arithmetic, so that every device makes the same picture.

#define RADIUS 3
#define BLOCK 128

static uint channel(uint pixel, uint n) { return pixel >> (8 * n) & 255; }
static uint pack(uint r, uint g, uint b, uint a) { return r | g << 8 | b << 16 | a << 24; }

// Weights of the blur: row 6 of Pascal's triangle, sum 64.
constant uint weights[2 * RADIUS + 1] = {1, 6, 15, 20, 15, 6, 1};

// Brightness of each pixel after ITU-R BT.601, in eighths of a bit: (77 R + 150 G + 29 B + 128) / 256.
static uint bright_of(uint p) { return (77 * channel(p, 0) + 150 * channel(p, 1) + 29 * channel(p, 2) + 128) >> 8; }

kernel void luma(global const uint *pixels, global uchar *out, uint count)
{
    uint i = get_global_id(0);
    if (i < count)
        out[i] = bright_of(pixels[i]);
}

static uint weighted(local const uint *line)
{
    uint r = 32, g = 32, b = 32;
    for (int k = 0; k < 2 * RADIUS + 1; k++) {
        uint p = line[k];
        r += weights[k] * channel(p, 0);
        g += weights[k] * channel(p, 1);
        b += weights[k] * channel(p, 2);
    }
    return pack(r >> 6, g >> 6, b >> 6, channel(line[RADIUS], 3));
}

// One pass of the blur along rows: a group of BLOCK items, a row's part in local memory, edges repeated.
kernel void blur_rows(global const uint *pixels, global uint *out, uint width, uint height)
{
    local uint line[BLOCK + 2 * RADIUS];
    int x = get_global_id(0), first = (int)get_group_id(0) * BLOCK - RADIUS, y = get_global_id(1);
    global const uint *row = pixels + (ulong)y * width;
    for (int k = get_local_id(0); k < BLOCK + 2 * RADIUS; k += BLOCK)
        line[k] = row[clamp(first + k, 0, (int)width - 1)];
    barrier(CLK_LOCAL_MEM_FENCE);
    if (x < (int)width)
        out[(ulong)y * width + x] = weighted(line + get_local_id(0));
}

// The other pass, along columns.
kernel void blur_columns(global const uint *pixels, global uint *out, uint width, uint height)
{
    local uint line[BLOCK + 2 * RADIUS];
    int y = get_global_id(0), first = (int)get_group_id(0) * BLOCK - RADIUS, x = get_global_id(1);
    for (int k = get_local_id(0); k < BLOCK + 2 * RADIUS; k += BLOCK)
        line[k] = pixels[(ulong)clamp(first + k, 0, (int)height - 1) * width + x];
    barrier(CLK_LOCAL_MEM_FENCE);
    if (y < (int)height)
        out[(ulong)y * width + x] = weighted(line + get_local_id(0));
}

// Counts each brightness: first a group's own counts in local memory, then everybody's. 256 items.
kernel void histogram(global const uchar *luma, global uint *counts, uint count)
{
    local uint own[256];
    uint t = get_local_id(0);
    own[t] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = get_global_id(0); i < count; i += get_global_size(0))
        atomic_inc(&own[luma[i]]);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (own[t])
        atomic_add(&counts[t], own[t]);
}

// From counts to the table that spreads brightness evenly. One group of 256 items; a scan with a barrier a step.
kernel void equalise(global const uint *counts, global uchar *table, uint count)
{
    local uint sums[256];
    local uint lowest;
    uint i = get_local_id(0), sum = counts[i];
    if (i == 0)
        lowest = count;
    sums[i] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint step = 1; step < 256; step *= 2) {
        uint before = i >= step ? sums[i - step] : 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        sum += before;
        sums[i] = sum;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    // The first brightness that occurs keeps its count out of the scale.
    if (sum > 0 && (i == 0 || sums[i - 1] == 0))
        lowest = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    uint scale = count - lowest;
    table[i] = scale == 0 ? i : sum <= lowest ? 0 : (uchar)(((ulong)(sum - lowest) * 255 + scale / 2) / scale);
}

// The whole part of a root; n is below 2^22.
static uint root(uint n)
{
    uint found = 0;
    for (uint bit = 1 << 10; bit; bit >>= 1)
        if ((found | bit) * (found | bit) <= n)
            found |= bit;
    return found;
}

// Sobel's operator on brightness: the length of the gradient, cut to 255. 16 x 16 items.
kernel void edges(global const uint *blurred, global uchar *out, uint width, uint height)
{
    local int tile[18][19];
    int x0 = (int)get_group_id(0) * 16 - 1, y0 = (int)get_group_id(1) * 16 - 1;
    for (int k = get_local_id(1) * 16 + get_local_id(0); k < 18 * 18; k += 256) {
        int row = clamp(y0 + k / 18, 0, (int)height - 1), column = clamp(x0 + k % 18, 0, (int)width - 1);
        tile[k / 18][k % 18] = bright_of(blurred[(ulong)row * width + column]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    uint x = get_global_id(0), y = get_global_id(1);
    if (x >= width || y >= height)
        return;
    int tx = get_local_id(0), ty = get_local_id(1);
    int across = tile[ty][tx + 2] + 2 * tile[ty + 1][tx + 2] + tile[ty + 2][tx + 2] -
                 tile[ty][tx] - 2 * tile[ty + 1][tx] - tile[ty + 2][tx];
    int down = tile[ty + 2][tx] + 2 * tile[ty + 2][tx + 1] + tile[ty + 2][tx + 2] -
               tile[ty][tx] - 2 * tile[ty][tx + 1] - tile[ty][tx + 2];
    out[(ulong)y * width + x] = min(root(across * across + down * down), 255u);
}

// The picture: blurred colours at the evened brightness, drawn over with dark edges.
kernel void compose(global const uint *blurred, global const uchar *luma, global const uchar *edges,
                    global const uchar *table, global uint *out, uint count)
{
    uint i = get_global_id(0);
    if (i >= count)
        return;
    uint p = blurred[i], gain = table[luma[i]], base = luma[i] ? luma[i] : 1, ink = 255 - edges[i];
    uint colour[3];
    for (uint n = 0; n < 3; n++) {
        uint bright = min((channel(p, n) * gain + base / 2) / base, 255u);
        // Half the evened colour, half the original, or noise in dark places would shine.
        uint mixed = (bright + channel(p, n) + 1) / 2;
        colour[n] = (mixed * ink + 127) / 255;
    }
    out[i] = pack(colour[0], colour[1], colour[2], channel(p, 3));
}

// What --json tells of a picture, for each group: sum of brightness and of ink, ink's maximum, pixels with ink above 64. 256 items.
kernel void measure(global const uchar *luma, global const uchar *edges, global ulong *sums, uint count)
{
    local ulong parts[4][256];
    uint t = get_local_id(0);
    ulong bright = 0, ink = 0, most = 0, strong = 0;
    for (uint i = get_global_id(0); i < count; i += get_global_size(0)) {
        bright += luma[i];
        ink += edges[i];
        most = max(most, (ulong)edges[i]);
        strong += edges[i] > 64;
    }
    parts[0][t] = bright;
    parts[1][t] = ink;
    parts[2][t] = most;
    parts[3][t] = strong;
    for (uint half_of = 128; half_of > 0; half_of /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (t < half_of) {
            parts[0][t] += parts[0][t + half_of];
            parts[1][t] += parts[1][t + half_of];
            parts[2][t] = max(parts[2][t], parts[2][t + half_of]);
            parts[3][t] += parts[3][t + half_of];
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (t < 4)
        sums[get_group_id(0) * 4 + t] = parts[t][0];
}
