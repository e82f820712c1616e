// SPDX-License-Identifier: Apache-2.0 OR MIT
// What a program of the CUDA runtime does in an afternoon: each part prints its name and whether it came out right.
#include <cstdio>
#include <cstring>
#include <vector>

#define OK(call)                                                                              \
    do {                                                                                      \
        cudaError_t status = (call);                                                          \
        if (status != cudaSuccess) {                                                          \
            why = #call;                                                                      \
            std::snprintf(text, sizeof text, "%s: %s", #call, cudaGetErrorString(status));    \
            why = text;                                                                       \
            return false;                                                                     \
        }                                                                                     \
    } while (0)

static const char *why = "";
static char text[400];

__constant__ float weights[4];
__device__ int counter = 5;
__managed__ int shared_by_both = 1;

__global__ void scale(float *a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) a[i] *= weights[i & 3];
}

template <typename T> __global__ void sum(const T *a, T *out, int n) {
    extern __shared__ char raw[];
    T *part = reinterpret_cast<T *>(raw);
    T mine = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine += a[i];
    part[threadIdx.x] = mine;
    for (int half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *out = part[0];
}

__global__ void bump() { atomicAdd(&counter, 1); atomicAdd(&shared_by_both, 2); }
__global__ void wild(int *p) { *p = 1; }
__global__ void copy_texture(cudaTextureObject_t t, float *out, int w, int h) {
    int x = threadIdx.x, y = blockIdx.x;
    if (x < w && y < h) out[y * w + x] = tex2D<float>(t, x + 0.5f, y + 0.5f);
}

static bool constants() {
    const float w[4] = {1, 2, 3, 4};
    std::vector<float> a(1000, 1.0f);
    float *d;
    OK(cudaMemcpyToSymbol(weights, w, sizeof w));
    OK(cudaMalloc(&d, 4000));
    OK(cudaMemcpy(d, a.data(), 4000, cudaMemcpyHostToDevice));
    scale<<<8, 128>>>(d, 1000);
    OK(cudaGetLastError());
    OK(cudaMemcpy(a.data(), d, 4000, cudaMemcpyDeviceToHost));
    OK(cudaFree(d));
    for (int i = 0; i < 1000; i++) if (a[i] != w[i & 3]) return false;
    return true;
}

template <typename T> static bool reduce() {
    std::vector<T> a(5000, T(2));
    T *d, *out, found;
    OK(cudaMalloc(&d, a.size() * sizeof(T)));
    OK(cudaMallocManaged(&out, sizeof(T)));
    OK(cudaMemcpy(d, a.data(), a.size() * sizeof(T), cudaMemcpyHostToDevice));
    sum<T><<<1, 256, 256 * sizeof(T)>>>(d, out, 5000);
    OK(cudaDeviceSynchronize());
    found = *out;
    OK(cudaFree(d));
    OK(cudaFree(out));
    return found == T(10000);
}

static bool symbols() {
    int found;
    bump<<<2, 32>>>();
    OK(cudaDeviceSynchronize());
    OK(cudaMemcpyFromSymbol(&found, counter, sizeof found));
    return found == 69 && shared_by_both == 129;
}

static bool streams() {
    const int n = 1 << 16;
    cudaStream_t a, b;
    cudaEvent_t done;
    float *host, *d, milliseconds;
    OK(cudaStreamCreate(&a));
    OK(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
    OK(cudaEventCreate(&done));
    OK(cudaMallocHost(&host, 4 * n));
    OK(cudaMallocAsync(&d, 4 * n, a));
    OK(cudaMemsetAsync(d, 0, 4 * n, a));
    OK(cudaEventRecord(done, a));
    OK(cudaStreamWaitEvent(b, done, 0));
    OK(cudaMemcpyAsync(host, d, 4 * n, cudaMemcpyDeviceToHost, b));
    OK(cudaStreamSynchronize(b));
    OK(cudaEventElapsedTime(&milliseconds, done, done));
    OK(cudaFreeAsync(d, a));
    OK(cudaStreamSynchronize(a));
    for (int i = 0; i < n; i++) if (host[i] != 0) return false;
    OK(cudaFreeHost(host));
    OK(cudaStreamDestroy(a));
    OK(cudaStreamDestroy(b));
    return milliseconds == 0;
}

static bool graphs() {
    cudaStream_t s;
    cudaGraph_t graph;
    cudaGraphExec_t made;
    int before, after;
    OK(cudaStreamCreate(&s));
    OK(cudaMemcpyFromSymbol(&before, counter, 4));
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    bump<<<1, 1, 0, s>>>();
    bump<<<1, 1, 0, s>>>();
    OK(cudaStreamEndCapture(s, &graph));
    OK(cudaGraphInstantiate(&made, graph, 0));
    for (int i = 0; i < 10; i++) OK(cudaGraphLaunch(made, s));
    OK(cudaStreamSynchronize(s));
    OK(cudaMemcpyFromSymbol(&after, counter, 4));
    return after - before == 20;
}

static bool textures() {
    const int w = 32, h = 8;
    float in[w * h], out[w * h], *d;
    for (int i = 0; i < w * h; i++) in[i] = float(i);
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array;
    cudaResourceDesc resource{};
    cudaTextureDesc sampler{};
    cudaTextureObject_t texture;
    OK(cudaMallocArray(&array, &format, w, h));
    OK(cudaMemcpy2DToArray(array, 0, 0, in, w * 4, w * 4, h, cudaMemcpyHostToDevice));
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    OK(cudaCreateTextureObject(&texture, &resource, &sampler, nullptr));
    OK(cudaMalloc(&d, sizeof out));
    copy_texture<<<h, w>>>(texture, d, w, h);
    OK(cudaMemcpy(out, d, sizeof out, cudaMemcpyDeviceToHost));
    OK(cudaDestroyTextureObject(texture));
    return !std::memcmp(in, out, sizeof in);
}

static bool occupancy() {
    int blocks, least, size;
    cudaFuncAttributes attributes;
    OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, scale, 128, 0));
    OK(cudaOccupancyMaxPotentialBlockSize(&least, &size, scale, 0, 0));
    OK(cudaFuncGetAttributes(&attributes, scale));
    return blocks > 0 && size >= 128 && attributes.maxThreadsPerBlock >= 128;
}

static bool refusals() {
    float *d;
    OK(cudaMalloc(&d, 64));
    scale<<<1, 2048>>>(d, 1);
    // The runtime passes the driver's CUDA_ERROR_INVALID_VALUE on, or says it in words of its own.
    cudaError_t status = cudaGetLastError();
    if (status != cudaErrorInvalidConfiguration && status != cudaErrorInvalidValue) return why = "2048 threads are not refused", false;
    return cudaFree((void *)0x1234) == cudaErrorInvalidValue;
}

static bool fault() { // last: the device is of no use afterwards
    wild<<<1, 1>>>((int *)64);
    if (cudaDeviceSynchronize() != cudaErrorIllegalAddress) return why = "no fault", false;
    return cudaDeviceSynchronize() == cudaErrorIllegalAddress;
}

int main() {
    struct { const char *name; bool (*run)(); } all[] = {
        {"constants", constants}, {"reduction of int", reduce<int>}, {"reduction of double", reduce<double>},
        {"device and managed variables", symbols}, {"streams and events", streams}, {"graphs", graphs},
        {"textures", textures}, {"occupancy", occupancy}, {"refusals", refusals}, {"sticky fault", fault},
    };
    for (auto &one : all) {
        why = "wrong result";
        bool good = one.run();
        std::printf("%s %s%s%s\n", good ? "passed" : "failed", one.name, good ? "" : " # ", good ? "" : why);
        std::fflush(stdout);
    }
    return 0;
}
