// SPDX-License-Identifier: Apache-2.0 OR MIT
// The CUDA runtime's parts, each a line of its result. Linked with the static and with the shared runtime; with
// -rdc=true also with -DSEPARATE, for kernels that start kernels; with -DMANAGED, for a variable that both sides see.
#include <cooperative_groups.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

namespace groups = cooperative_groups;

static cudaError_t first_error;
static bool ok(cudaError_t status) {
    if (status != cudaSuccess && first_error == cudaSuccess) first_error = status;
    return status == cudaSuccess;
}

static uint64_t hash(const void *data, size_t bytes) {
    uint64_t found = 1469598103934665603ull;
    for (size_t i = 0; i < bytes; i++) found = (found ^ static_cast<const unsigned char *>(data)[i]) * 1099511628211ull;
    return found;
}

static void tell(const char *name, const void *data, size_t bytes) {
    if (first_error != cudaSuccess) {
        std::printf("%s: raises %s\n", name, cudaGetErrorName(first_error));
        first_error = cudaSuccess;
        cudaGetLastError();
    } else {
        std::printf("%s: %016llx\n", name, static_cast<unsigned long long>(hash(data, bytes)));
    }
    std::fflush(stdout);
}

template <typename T> static void tell_device(const char *name, const T *device, size_t count) {
    std::vector<T> host(count);
    ok(cudaMemcpy(host.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost));
    tell(name, host.data(), count * sizeof(T));
}

template <typename T> static T *room(size_t count) {
    T *made = nullptr;
    ok(cudaMalloc(&made, count * sizeof(T)));
    ok(cudaMemset(made, 0, count * sizeof(T)));
    return made;
}

__constant__ float weights[16];
__device__ int counter;
__device__ float table[256];
#ifdef MANAGED
__managed__ int managed_counter = 3;
#endif

__global__ void wave(float *out, int n, float step) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = sinf(i * step) * weights[i & 15] + __expf(-i * step);
}

__global__ void add_one(int *a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) a[i] += 1;
}

__global__ void tally() {
    atomicAdd(&counter, 1);
#ifdef MANAGED
    atomicAdd_system(&managed_counter, 1);
#endif
}

__global__ void halves(const float *a, __half *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = __hfma(__float2half(a[i]), __float2half(1.5f), __float2half(0.25f));
}

__global__ void reduce(const float *a, float *out, int n) {
    extern __shared__ float part[];
    float mine = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine += a[i];
    part[threadIdx.x] = mine;
    __syncthreads();
    for (int half = blockDim.x / 2; half; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}

__global__ void whole_grid(int *a, int n) {
    groups::grid_group grid = groups::this_grid();
    int i = grid.thread_rank();
    for (int round = 0; round < 5; round++) {
        int next = i < n ? a[(i + 1) % n] : 0;
        grid.sync();
        if (i < n) a[i] = next + 1;
        grid.sync();
    }
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 || !defined(__CUDA_ARCH__)
#define CLUSTERS 1
#endif
__global__ void cluster(int *out) {
#if CLUSTERS
    groups::cluster_group all = groups::this_cluster();
    __shared__ int mine;
    if (threadIdx.x == 0) mine = blockIdx.x * 10;
    all.sync();
    int *other = all.map_shared_rank(&mine, (all.block_rank() + 1) % all.num_blocks());
    if (threadIdx.x == 0) out[blockIdx.x] = *other;
    all.sync();
#endif
}

__global__ void look_up(cudaTextureObject_t texture, cudaSurfaceObject_t surface, float *out, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= width || y >= height) return;
    out[y * width + x] = tex2D<float>(texture, (x + 0.75f) / width, (y + 0.25f) / height);
    surf2Dwrite(x * 1.0f + y, surface, x * 4, y);
}

__global__ void speak(int n) { printf("thread %d of %d says %s %.3f\n", threadIdx.x, n, "good day", n * 0.5); }
__global__ void wild(int *p) { *p = 1; }
__global__ void wrong(int n) { if (n) __trap(); }
__global__ void slow(long long cycles) { long long begin = clock64(); while (clock64() - begin < cycles) { } }

#ifdef SEPARATE
__global__ void child(int *a) { a[blockIdx.x * blockDim.x + threadIdx.x] += 5; }
__global__ void parent(int *a) { if (threadIdx.x == 0) child<<<4, 32>>>(a); }
#endif

static void device() {
    cudaDeviceProp found;
    ok(cudaGetDeviceProperties(&found, 0));
    std::printf("device: %s %d.%d %zu %d %d %d\n", found.name, found.major, found.minor, found.totalGlobalMem, found.multiProcessorCount, found.warpSize, found.l2CacheSize);
    int driver = 0, runtime = 0, count = 0;
    ok(cudaDriverGetVersion(&driver)); ok(cudaRuntimeGetVersion(&runtime)); ok(cudaGetDeviceCount(&count));
    std::printf("versions: %d %d %d\n", driver, runtime, count);
    int values[130] = {};
    for (int i = 1; i < 130; i++)
        if (cudaDeviceGetAttribute(&values[i], static_cast<cudaDeviceAttr>(i), 0) != cudaSuccess) values[i] = -1;
    for (int i = 1; i < 130; i++) std::printf("attribute.%d: %d\n", i, values[i]);
    cudaGetLastError();
}

static void symbols(float *a) {
    float host[16];
    for (int i = 0; i < 16; i++) host[i] = i * 0.5f;
    ok(cudaMemcpyToSymbol(weights, host, sizeof host));
    wave<<<40, 256>>>(a, 10000, 0.01f);
    tell_device("wave", a, 10000);
    ok(cudaMemcpyToSymbol(table, host, sizeof host, 64));
    float back[256];
    ok(cudaMemcpyFromSymbol(back, table, sizeof back));
    tell("symbol", back, sizeof back);
    tally<<<7, 32>>>();
    ok(cudaDeviceSynchronize());
    int seen = 0;
    ok(cudaMemcpyFromSymbol(&seen, counter, 4));
    tell("atomics", &seen, sizeof seen);
#ifdef MANAGED
    seen = managed_counter;
    tell("managed variable", &seen, sizeof seen);
#endif
}

static void arithmetic(float *a) {
    __half *h = room<__half>(10000);
    halves<<<40, 256>>>(a, h, 10000);
    tell_device("halves", h, 10000);
    float *sum = room<float>(4);
    ok(cudaFuncSetAttribute(reduce, cudaFuncAttributeMaxDynamicSharedMemorySize, 65536));
    reduce<<<4, 512, 60000>>>(a, sum, 10000);
    tell_device("dynamic shared memory", sum, 4);
    ok(cudaFree(h)); ok(cudaFree(sum));
}

static void groups_(void) {
    int n = 2048;
    int *a = room<int>(n);
    void *arguments[] = {&a, &n};
    ok(cudaLaunchCooperativeKernel(reinterpret_cast<void *>(whole_grid), 8, 256, arguments, 0, nullptr));
    tell_device("cooperative", a, n);
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = 4; attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    config.gridDim = 8; config.blockDim = 32; config.attrs = &attribute; config.numAttrs = 1;
    ok(cudaLaunchKernelEx(&config, cluster, a));
    tell_device("cluster", a, 8);
    ok(cudaFree(a));
}

static void streams(void) {
    cudaStream_t one, two;
    cudaEvent_t before, after;
    ok(cudaStreamCreateWithPriority(&one, cudaStreamNonBlocking, -1));
    ok(cudaStreamCreate(&two));
    ok(cudaEventCreate(&before)); ok(cudaEventCreate(&after));
    int *a = room<int>(100000), *host;
    ok(cudaMallocHost(&host, 400000));
    for (int i = 0; i < 100000; i++) host[i] = i;
    ok(cudaEventRecord(before, one));
    ok(cudaMemcpyAsync(a, host, 400000, cudaMemcpyHostToDevice, one));
    add_one<<<400, 256, 0, one>>>(a, 100000);
    ok(cudaEventRecord(after, one));
    ok(cudaStreamWaitEvent(two, after, 0));
    add_one<<<400, 256, 0, two>>>(a, 100000);
    ok(cudaMemcpyAsync(host, a, 400000, cudaMemcpyDeviceToHost, two));
    ok(cudaStreamSynchronize(two));
    tell("streams", host, 400000);
    float time = -1;
    ok(cudaEventElapsedTime(&time, before, after));
    int sane = time >= 0 && time < 10000;
    tell("event time is sane", &sane, 4);
    struct Called { int *seen; int value; } called = {host, 77};
    ok(cudaLaunchHostFunc(two, [](void *data) { auto *c = static_cast<Called *>(data); *c->seen = c->value; }, &called));
    ok(cudaStreamSynchronize(two));
    tell("host function", host, 4);
    ok(cudaStreamDestroy(one)); ok(cudaStreamDestroy(two)); ok(cudaEventDestroy(before)); ok(cudaEventDestroy(after));
    ok(cudaFree(a)); ok(cudaFreeHost(host));
}

static void memory(void) {
    // Pitched and in three dimensions.
    char *pitched; size_t pitch;
    ok(cudaMallocPitch(&pitched, &pitch, 100, 50));
    std::vector<char> box(5000), back(5000);
    for (size_t i = 0; i < box.size(); i++) box[i] = i * 7;
    ok(cudaMemset2D(pitched, pitch, 9, 100, 50));
    ok(cudaMemcpy2D(pitched, pitch, box.data(), 100, 80, 40, cudaMemcpyHostToDevice));
    ok(cudaMemcpy2D(back.data(), 100, pitched, pitch, 100, 50, cudaMemcpyDeviceToHost));
    tell("pitched", back.data(), back.size());
    // Managed, mapped, registered.
    int *managed, *mapped, *seen;
    if (!ok(cudaMallocManaged(&managed, 4000))) return tell("managed", nullptr, 0);
    for (int i = 0; i < 1000; i++) managed[i] = i;
    add_one<<<4, 256>>>(managed, 1000);
    ok(cudaDeviceSynchronize());
    tell("managed", managed, 4000);
    if (!ok(cudaHostAlloc(&mapped, 4000, cudaHostAllocMapped))) return tell("mapped", nullptr, 0);
    for (int i = 0; i < 1000; i++) mapped[i] = 2 * i;
    ok(cudaHostGetDevicePointer(&seen, mapped, 0));
    add_one<<<4, 256>>>(seen, 1000);
    ok(cudaDeviceSynchronize());
    tell("mapped", mapped, 4000);
    std::vector<int> own(10000, 5);
    ok(cudaHostRegister(own.data(), 40000, cudaHostRegisterDefault));
    ok(cudaHostGetDevicePointer(&seen, own.data(), 0));
    add_one<<<40, 256>>>(seen, 10000);
    ok(cudaDeviceSynchronize());
    tell("registered", own.data(), 40000);
    ok(cudaHostUnregister(own.data()));
    // What each address is.
    cudaPointerAttributes facts;
    int kinds[5];
    const void *addresses[] = {pitched, managed, mapped, own.data(), kinds};
    for (int i = 0; i < 5; i++) { ok(cudaPointerGetAttributes(&facts, addresses[i])); kinds[i] = facts.type; }
    tell("pointer kinds", kinds, sizeof kinds);
    // In stream order.
    int *pool;
    cudaMemPool_t default_pool;
    ok(cudaDeviceGetDefaultMemPool(&default_pool, 0));
    uint64_t keep = ~0ull;
    ok(cudaMemPoolSetAttribute(default_pool, cudaMemPoolAttrReleaseThreshold, &keep));
    for (int round = 0; round < 10; round++) {
        ok(cudaMallocAsync(&pool, 400000, nullptr));
        ok(cudaMemsetAsync(pool, round, 400000, nullptr));
        add_one<<<400, 256>>>(pool, 100000);
        if (round == 9) tell_device("pool", pool, 100000);
        ok(cudaFreeAsync(pool, nullptr));
    }
    ok(cudaFree(pitched)); ok(cudaFree(managed)); ok(cudaFreeHost(mapped));
}

static void textures(void) {
    const int width = 64, height = 32;
    std::vector<float> image(width * height);
    for (int i = 0; i < width * height; i++) image[i] = (i * 37 % 101) / 7.0f;
    cudaChannelFormatDesc channel = cudaCreateChannelDesc<float>();
    cudaArray_t array, written;
    ok(cudaMallocArray(&array, &channel, width, height));
    ok(cudaMallocArray(&written, &channel, width, height, cudaArraySurfaceLoadStore));
    ok(cudaMemcpy2DToArray(array, 0, 0, image.data(), width * 4, width * 4, height, cudaMemcpyHostToDevice));
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    cudaTextureDesc how = {};
    how.addressMode[0] = cudaAddressModeWrap; how.addressMode[1] = cudaAddressModeMirror;
    how.filterMode = cudaFilterModeLinear; how.readMode = cudaReadModeElementType; how.normalizedCoords = 1;
    cudaTextureObject_t texture; cudaSurfaceObject_t surface;
    ok(cudaCreateTextureObject(&texture, &resource, &how, nullptr));
    resource.res.array.array = written;
    ok(cudaCreateSurfaceObject(&surface, &resource));
    float *out = room<float>(width * height);
    look_up<<<dim3(1, height), width>>>(texture, surface, out, width, height);
    tell_device("texture", out, width * height);
    ok(cudaMemcpy2DFromArray(image.data(), width * 4, written, 0, 0, width * 4, height, cudaMemcpyDeviceToHost));
    tell("surface", image.data(), image.size() * 4);
    ok(cudaDestroyTextureObject(texture)); ok(cudaDestroySurfaceObject(surface));
    ok(cudaFreeArray(array)); ok(cudaFreeArray(written)); ok(cudaFree(out));
}

static void graphs(void) {
    cudaStream_t stream;
    ok(cudaStreamCreate(&stream));
    int *a = room<int>(1000);
    cudaGraph_t captured, made;
    cudaGraphExec_t exec;
    ok(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int i = 0; i < 20; i++) add_one<<<4, 256, 0, stream>>>(a, 1000);
    ok(cudaStreamEndCapture(stream, &captured));
    ok(cudaGraphInstantiate(&exec, captured, 0));
    for (int i = 0; i < 3; i++) ok(cudaGraphLaunch(exec, stream));
    ok(cudaStreamSynchronize(stream));
    tell_device("captured graph", a, 1000);
    size_t nodes = 0;
    ok(cudaGraphGetNodes(captured, nullptr, &nodes));
    tell("nodes", &nodes, sizeof nodes);
    ok(cudaGraphExecDestroy(exec));
    // Nodes by hand: memset, two kernels, a copy out, a host function.
    int n = 1000;
    void *arguments[] = {&a, &n};
    std::vector<int> out(1000);
    cudaGraphNode_t zero, first, second, copy, call;
    cudaMemsetParams set = {};
    set.dst = a; set.elementSize = 4; set.value = 40; set.width = 1000; set.height = 1;
    cudaKernelNodeParams kernel = {};
    kernel.func = reinterpret_cast<void *>(add_one); kernel.gridDim = 4; kernel.blockDim = 256; kernel.kernelParams = arguments;
    static int called;
    called = 0;
    cudaHostNodeParams host = {[](void *p) { ++*static_cast<int *>(p); }, &called};
    ok(cudaGraphCreate(&made, 0));
    ok(cudaGraphAddMemsetNode(&zero, made, nullptr, 0, &set));
    ok(cudaGraphAddKernelNode(&first, made, &zero, 1, &kernel));
    ok(cudaGraphAddKernelNode(&second, made, &first, 1, &kernel));
    ok(cudaGraphAddMemcpyNode1D(&copy, made, &second, 1, out.data(), a, 4000, cudaMemcpyDeviceToHost));
    ok(cudaGraphAddHostNode(&call, made, &copy, 1, &host));
    ok(cudaGraphInstantiate(&exec, made, 0));
    ok(cudaGraphLaunch(exec, stream));
    ok(cudaStreamSynchronize(stream));
    tell("graph by hand", out.data(), out.size() * 4);
    tell("host node", &called, sizeof called);
    set.value = 70;
    ok(cudaGraphExecMemsetNodeSetParams(exec, zero, &set));
    ok(cudaGraphLaunch(exec, stream));
    ok(cudaStreamSynchronize(stream));
    tell("graph updated", out.data(), 4000);
    ok(cudaGraphExecDestroy(exec)); ok(cudaGraphDestroy(made)); ok(cudaGraphDestroy(captured));
    ok(cudaStreamDestroy(stream)); ok(cudaFree(a));
}

static void occupancy(void) {
    int found[4] = {};
    ok(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&found[0], reduce, 256, 4096));
    ok(cudaOccupancyMaxPotentialBlockSize(&found[1], &found[2], wave, 0, 0));
    cudaFuncAttributes facts;
    ok(cudaFuncGetAttributes(&facts, reduce));
    found[3] = facts.maxThreadsPerBlock;
    tell("occupancy", found, sizeof found);
    size_t limits[3];
    ok(cudaDeviceGetLimit(&limits[0], cudaLimitStackSize));
    ok(cudaDeviceSetLimit(cudaLimitMallocHeapSize, 32 << 20));
    ok(cudaDeviceGetLimit(&limits[1], cudaLimitMallocHeapSize));
    ok(cudaDeviceGetLimit(&limits[2], cudaLimitPrintfFifoSize));
    tell("limits", limits, sizeof limits);
}

static void threads(void) {
    std::vector<std::thread> running;
    std::vector<uint64_t> found(8);
    for (int t = 0; t < 8; t++)
        running.emplace_back([t, &found] {
            int *a;
            cudaMalloc(&a, 4000);
            cudaMemset(a, t, 4000);
            for (int i = 0; i < 50; i++) add_one<<<4, 256, 0, cudaStreamPerThread>>>(a, 1000);
            cudaStreamSynchronize(cudaStreamPerThread);
            std::vector<int> host(1000);
            cudaMemcpy(host.data(), a, 4000, cudaMemcpyDeviceToHost);
            found[t] = hash(host.data(), 4000);
            cudaFree(a);
        });
    for (auto &thread : running) thread.join();
    tell("threads", found.data(), found.size() * 8);
}

static void errors(void) {
    cudaError_t found[7];
    int *a = nullptr;
    void *huge = nullptr;
    found[0] = cudaMalloc(&huge, 1ull << 50);
    add_one<<<1, 4096>>>(a, 1);
    found[1] = cudaGetLastError();
    found[2] = cudaFree(reinterpret_cast<void *>(0x1234));
    found[3] = cudaMemcpy(nullptr, nullptr, 4, cudaMemcpyHostToDevice);
    found[4] = cudaSetDevice(99);
    found[5] = cudaEventElapsedTime(nullptr, nullptr, nullptr);
    found[6] = cudaGetLastError();
    for (int i = 0; i < 7; i++) std::printf("error.%d: %s\n", i, cudaGetErrorName(found[i]));
}

static void fault(void) {
    wild<<<1, 1>>>(reinterpret_cast<int *>(16));
    std::printf("fault: %s\n", cudaGetErrorName(cudaDeviceSynchronize()));
    int *a;
    std::printf("fault, after: %s\n", cudaGetErrorName(cudaMalloc(&a, 4)));
    std::printf("fault, reset: %s\n", cudaGetErrorName(cudaDeviceReset()));
}

int main() {
    device();
    float *a = room<float>(10000);
    symbols(a); arithmetic(a); groups_(); streams(); memory(); textures(); graphs(); occupancy(); threads();
    std::fflush(stdout);
    speak<<<1, 2>>>(2);
    ok(cudaDeviceSynchronize());
    slow<<<1, 1>>>(1000000);
    ok(cudaDeviceSynchronize());
    tell("slow", "", 0);
#ifdef SEPARATE
    int *b = room<int>(128);
    parent<<<1, 32>>>(b);
    tell_device("kernel of a kernel", b, 128);
#endif
    errors();
    ok(cudaFree(a));
    fault();
    return 0;
}
