//! OpenCL 3.0, as far as it is carried. Read by `spec-gen` as data, never compiled; how to write it: `spec/README.md`.
//!
//! Argument names and types are the API's; `u32` stands for `cl_uint`, `cl_bool` and its unsigned enumerations, `u64` for its bit
//! fields. Messages whose names begin with `gpuferry` are no calls of the API: hand-written code of both sides uses them.
//!
//! An enqueued command is posted where the guest can tell that the host's library accepts it, and waited for else, so that the
//! library's own code comes back from the call that earned it: such messages are `either`.
#![status(cl_int, invalid = CL_INVALID_VALUE, gone = CL_DEVICE_NOT_AVAILABLE)]
#![numbers(0x4000, 0x5fff)]
#![kinds(64, 127)]
#![no_context]
#![by_hand(guest)]

const CL_DEVICE_NOT_AVAILABLE: cl_int = -2;
const CL_MEM_OBJECT_ALLOCATION_FAILURE: cl_int = -4;
const CL_OUT_OF_RESOURCES: cl_int = -5;
const CL_OUT_OF_HOST_MEMORY: cl_int = -6;
const CL_BUILD_PROGRAM_FAILURE: cl_int = -11;
const CL_INVALID_VALUE: cl_int = -30;
const CL_INVALID_DEVICE: cl_int = -33;
const CL_INVALID_CONTEXT: cl_int = -34;
const CL_INVALID_COMMAND_QUEUE: cl_int = -36;
const CL_INVALID_MEM_OBJECT: cl_int = -38;
const CL_INVALID_SAMPLER: cl_int = -41;
const CL_INVALID_BINARY: cl_int = -42;
const CL_INVALID_PROGRAM: cl_int = -44;
const CL_INVALID_KERNEL: cl_int = -48;
const CL_INVALID_ARG_INDEX: cl_int = -49;
const CL_INVALID_ARG_VALUE: cl_int = -50;
const CL_INVALID_ARG_SIZE: cl_int = -51;
const CL_INVALID_EVENT: cl_int = -58;
const CL_INVALID_OPERATION: cl_int = -59;

/// What `gpuferryInfo` is asked about: the platform.
const INFO_PLATFORM: u32 = 0;
/// A device.
const INFO_DEVICE: u32 = 1;
/// A memory object, as the device sees it.
const INFO_MEM: u32 = 2;
/// An image.
const INFO_IMAGE: u32 = 3;
/// A pipe.
const INFO_PIPE: u32 = 4;
/// A program; `CL_PROGRAM_BINARIES` is the binary for `second`, a device.
const INFO_PROGRAM: u32 = 5;
/// A program's build for `second`, a device.
const INFO_PROGRAM_BUILD: u32 = 6;
/// A kernel.
const INFO_KERNEL: u32 = 7;
/// A kernel on `second`, a device or null.
const INFO_KERNEL_WORK_GROUP: u32 = 8;
/// A kernel's argument, whose index (u32) is `input`.
const INFO_KERNEL_ARG: u32 = 9;
/// A kernel on `second`, a device or null, for a work size (8 bytes a dimension, or one number) that is `input`, and last in it how
/// many bytes the program has room for: they say for how many dimensions it asks.
const INFO_KERNEL_SUB_GROUP: u32 = 10;
/// An event's profile.
const INFO_EVENT_PROFILING: u32 = 11;
/// The image formats of a context, 8 bytes each; `input` is flags (u64) and image type (u32), `param` is 0.
const INFO_IMAGE_FORMATS: u32 = 12;
/// A command queue.
const INFO_QUEUE: u32 = 13;

/// How the value of an argument stands in `gpuferrySetArg` and `gpuferryLaunch`: its bytes.
const ARG_BYTES: u32 = 0;
/// 8 bytes that are a handle: of a memory object, sampler or command queue.
const ARG_HANDLE: u32 = 1;
/// No value: local memory of the size that is said, or a null memory object.
const ARG_NULL: u32 = 2;
/// 8 bytes that are an address of shared virtual memory.
const ARG_SVM: u32 = 3;

/// What the host knows of an argument, from `clGetKernelArgInfo`: nothing.
const SHAPE_UNKNOWN: u32 = 0;
/// A value: its bytes are never a handle.
const SHAPE_VALUE: u32 = 1;
/// A pointer to global or constant memory.
const SHAPE_MEMORY: u32 = 2;
/// A pointer to local memory.
const SHAPE_LOCAL: u32 = 3;
/// An image, sampler, pipe or queue.
const SHAPE_OBJECT: u32 = 4;

/// What a transfer moves: bytes of a buffer. `origin[0]` is the offset, `region[0]` the bytes.
const AREA_BUFFER: u32 = 0;
/// A box of a buffer, with its pitches.
const AREA_RECT: u32 = 1;
/// A box of an image; pitches are 0.
const AREA_IMAGE: u32 = 2;

/// `Work::flags`: the program gave an offset.
const WORK_OFFSET: u32 = 1;
/// `Work::flags`: the program gave a local size.
const WORK_LOCAL: u32 = 2;

/// Three sizes, as the API passes them.
struct Triple {
    x: usize,
    y: usize,
    z: usize,
}

/// The colour of an image to be filled; a depth image takes the first word.
struct Color {
    words: [u32; 4],
}

/// A part of a memory object. The other side of a transfer is always without gaps: `row_pitch` and `slice_pitch` are the object's.
struct Area {
    /// `AREA_BUFFER`, `AREA_RECT` or `AREA_IMAGE`.
    sort: u32,
    padding: u32,
    origin: [usize; 3],
    region: [usize; 3],
    row_pitch: usize,
    slice_pitch: usize,
}

/// How much a kernel works. Dimensions beyond `dimensions` are 1 (offset 0); what `flags` does not name is 0.
struct Work {
    dimensions: u32,
    /// `WORK_OFFSET`, `WORK_LOCAL`.
    flags: u32,
    offset: [usize; 3],
    global: [usize; 3],
    local: [usize; 3],
}

/// `cl_image_format` and `cl_image_desc`, its memory object apart.
struct ImageShape {
    channel_order: u32,
    channel_data_type: u32,
    image_type: u32,
    num_mip_levels: u32,
    num_samples: u32,
    padding: u32,
    width: usize,
    height: usize,
    depth: usize,
    array_size: usize,
    /// Pitches of the data that the image begins with, or of the buffer that it lies in.
    row_pitch: usize,
    slice_pitch: usize,
}

trait Handles {
    /// 0 stands where the API allows no device.
    #[handle(64, error = CL_INVALID_DEVICE, plain(0))]
    type cl_device_id;
    #[handle(65, error = CL_INVALID_CONTEXT)]
    type cl_context;
    #[handle(66, error = CL_INVALID_COMMAND_QUEUE)]
    type cl_command_queue;
    /// 0 stands where the API allows no memory object.
    #[handle(67, error = CL_INVALID_MEM_OBJECT, plain(0))]
    type cl_mem;
    #[handle(68, error = CL_INVALID_SAMPLER)]
    type cl_sampler;
    #[handle(69, error = CL_INVALID_PROGRAM)]
    type cl_program;
    #[handle(70, error = CL_INVALID_KERNEL)]
    type cl_kernel;
    #[handle(71, error = CL_INVALID_EVENT)]
    type cl_event;
}

trait Platforms {
    /// Number of devices that the session may use. There is one platform.
    #[call(0x4001, wait)] #[by_hand(both)]
    fn gpuferryDevices(#[out] count: u32);
    /// Gives the device with a number below the count a handle.
    #[call(0x4002, wait)] #[by_hand(both)]
    fn gpuferryDevice(#[new] device: cl_device_id, number: u32);
    /// Any property that is no object: the host's function for `what` (`INFO_…`) is asked for `param`. `size` is what it takes;
    /// as much of it as `value` holds comes back. A property that is an object or an address of the host's is `CL_INVALID_VALUE`:
    /// the guest knows those.
    #[call(0x4003, wait)] #[by_hand(both)]
    fn gpuferryInfo(
        what: u32,
        object: Handle,
        second: Handle,
        param: u32,
        #[run] input: &[u8],
        #[out] size: usize,
        #[out] #[len(room)] value: &mut [u8],
        room: usize,
    );
    /// How many sub-devices a partition gives. `properties` is the list (8 bytes each) with its final 0.
    #[call(0x4004, wait)] #[by_hand(both)]
    fn gpuferrySubDeviceCount(in_device: cl_device_id, #[run] properties: &[u8], #[out] count: u32);
    /// Partitions a device: `made` is as many new handles (8 bytes each) as the partition gives.
    #[call(0x4005, wait)] #[by_hand(both)]
    fn gpuferrySubDevices(in_device: cl_device_id, #[run] properties: &[u8], #[run] made: &[u8]);
    /// The guest holds a sub-device no more.
    #[call(0x4006, post)]
    fn clReleaseDevice(#[free] device: cl_device_id);
    /// Device and host time that belong together, in nanoseconds.
    #[call(0x4007, wait)]
    fn clGetDeviceAndHostTimer(device: cl_device_id, #[out] device_timestamp: u64, #[out] host_timestamp: u64);
    /// Host time, in nanoseconds.
    #[call(0x4008, wait)]
    fn clGetHostTimer(device: cl_device_id, #[out] host_timestamp: u64);
    /// Makes an on-device queue the default one.
    #[call(0x4009, wait)]
    fn clSetDefaultDeviceCommandQueue(context: cl_context, device: cl_device_id, command_queue: cl_command_queue);

    /// A function of the program is due: `id` as it was registered, or the number of a context (`notify`) with the error's text.
    /// Sleeps until there is one; one thread of the guest asks. The host waits for no answer.
    #[call(0x4010, wait)] #[block] #[by_hand(both)]
    fn gpuferryNextCallback(#[out] id: u64, #[out] state: i32, #[out] message: Vec<u8>);
    /// Maps a lease at its own address, for `gpuferryReadTo`, `gpuferryWriteFrom` and their like.
    #[call(0x4011, wait)] #[by_hand(both)]
    fn gpuferryShare(lease: u32, address: u64, bytes: u64);
    /// Ends that. The guest knows that no command uses the memory any more.
    #[call(0x4012, wait)] #[by_hand(both)]
    fn gpuferryUnshare(address: u64);
    /// What kernels have printed since the last time, or since the first, which begins to collect it; nothing where there is no more.
    /// Whoever asks after a command has ended finds all that it printed.
    /// The first byte is the stream's number (1 output, 2 error), and all of one answer is that stream's.
    #[call(0x4013, wait)] #[by_hand(both)]
    fn gpuferryPrinted(#[out] printed: Vec<u8>);
}

trait Contexts {
    /// Makes a context. `properties` is the list (8 bytes each) without the platform and without the final 0. Its error function,
    /// if `notify` is not 0, becomes due with that number as `id`.
    #[call(0x4020, wait)] #[block] #[by_hand(both)]
    fn gpuferryContext(
        #[new] context: cl_context,
        #[run] properties: &[u8],
        #[len(num_devices)] devices: &[cl_device_id],
        num_devices: u32,
        notify: u64,
    );
    /// The guest holds a context no more.
    #[call(0x4021, post)]
    fn clReleaseContext(#[free] context: cl_context);

    /// Makes a queue. `properties` is the list (8 bytes each) without the final 0; `CL_QUEUE_PROPERTIES` alone goes to a host of
    /// 1.2 too.
    #[call(0x4030, wait)] #[by_hand(both)]
    fn gpuferryQueue(#[new] queue: cl_command_queue, context: cl_context, device: cl_device_id, #[run] properties: &[u8]);
    /// The guest holds a queue no more.
    #[call(0x4031, post)]
    fn clReleaseCommandQueue(#[free] command_queue: cl_command_queue);
    /// Has the commands begin.
    #[call(0x4032, post)]
    fn clFlush(command_queue: cl_command_queue);
    /// Waits for all commands of a queue.
    #[call(0x4033, wait)] #[block]
    fn clFinish(command_queue: cl_command_queue);
}

trait Memory {
    /// Makes a buffer, with `data` in it where that is given. `flags` are the program's: to the host's library only how kernels
    /// use it matters (`CL_MEM_READ_WRITE`, `_WRITE_ONLY`, `_READ_ONLY`) and whether there is data.
    #[call(0x4040, wait)] #[block] #[by_hand(both)]
    fn gpuferryBuffer(
        #[new] buffer: cl_mem,
        context: cl_context,
        flags: u64,
        size: usize,
        #[len(bytes)] data: &[u8],
        bytes: usize,
    );
    /// A part of a buffer.
    #[call(0x4041, wait)] #[by_hand(both)]
    fn gpuferrySubBuffer(#[new] sub: cl_mem, buffer: cl_mem, flags: u64, origin: usize, size: usize);
    /// Makes an image, over `source` where that is not null, with `data` in it where that is given.
    #[call(0x4042, wait)] #[block] #[by_hand(both)]
    fn gpuferryImage(
        #[new] image: cl_mem,
        context: cl_context,
        flags: u64,
        shape: &ImageShape,
        source: cl_mem,
        #[len(bytes)] data: &[u8],
        bytes: usize,
    );
    /// Makes a pipe.
    #[call(0x4043, wait)] #[by_hand(both)]
    fn gpuferryPipe(#[new] pipe: cl_mem, context: cl_context, flags: u64, packet_size: u32, max_packets: u32);
    /// The guest holds a memory object no more.
    #[call(0x4044, post)]
    fn clReleaseMemObject(#[free] memobj: cl_mem);
    /// Makes a sampler. `properties` is the list (8 bytes each) without the final 0; the three of 1.2 alone go to a host of 1.2
    /// too.
    #[call(0x4048, wait)] #[by_hand(both)]
    fn gpuferrySampler(#[new] sampler: cl_sampler, context: cl_context, #[run] properties: &[u8]);
    /// The guest holds a sampler no more.
    #[call(0x4049, post)]
    fn clReleaseSampler(#[free] sampler: cl_sampler);
}

trait Programs {
    /// A program from source.
    #[call(0x4060, wait)] #[by_hand(both)]
    fn gpuferryProgramSource(
        #[new] program: cl_program,
        context: cl_context,
        #[len(bytes)] source: &[u8],
        bytes: usize,
    );
    /// A program from binaries, one a device. `lengths` are their bytes (8 bytes each), `binaries` all of them in order; the
    /// status of each (i32) comes back.
    #[call(0x4061, wait)] #[block] #[always] #[by_hand(both)]
    fn gpuferryProgramBinary(
        #[new] program: cl_program,
        context: cl_context,
        #[len(num_devices)] device_list: &[cl_device_id],
        num_devices: u32,
        #[run] lengths: &[u8],
        #[len(bytes)] binaries: &[u8],
        bytes: usize,
        #[out] states: Vec<u8>,
    );
    /// A program from an intermediate language (SPIR-V).
    #[call(0x4062, wait)] #[block] #[by_hand(both)]
    fn gpuferryProgramIL(#[new] program: cl_program, context: cl_context, #[len(length)] il: &[u8], length: usize);
    /// A program of kernels that the device has built in.
    #[call(0x4063, wait)]
    fn clCreateProgramWithBuiltInKernels(
        #[new] #[returned] program: cl_program,
        context: cl_context,
        num_devices: u32,
        #[len(num_devices)] device_list: &[cl_device_id],
        kernel_names: &CStr,
    );
    /// The guest holds a program no more.
    #[call(0x4064, post)]
    fn clReleaseProgram(#[free] program: cl_program);
    /// Builds a program for the devices, or for all of its own where there are none.
    #[call(0x4065, wait)] #[block] #[by_hand(both)]
    fn gpuferryBuild(
        program: cl_program,
        #[len(num_devices)] device_list: &[cl_device_id],
        num_devices: u32,
        options: &CStr,
    );
    /// Compiles a program. `header_names` are texts that end with a zero byte each, one a header.
    #[call(0x4066, wait)] #[block] #[by_hand(both)]
    fn gpuferryCompile(
        program: cl_program,
        #[len(num_devices)] device_list: &[cl_device_id],
        num_devices: u32,
        options: &CStr,
        #[len(num_headers)] headers: &[cl_program],
        num_headers: u32,
        #[run] header_names: &[u8],
    );
    /// Links programs. `program` is a new handle; it stands for a program where `made` is 1, whatever the status.
    #[call(0x4067, wait)] #[block] #[always] #[by_hand(both)]
    fn gpuferryLink(
        program: Handle,
        context: cl_context,
        #[len(num_devices)] device_list: &[cl_device_id],
        num_devices: u32,
        options: &CStr,
        #[len(num_programs)] programs: &[cl_program],
        num_programs: u32,
        #[out] made: u32,
    );
    /// Sets a specialization constant.
    #[call(0x4068, wait)] #[by_hand(both)]
    fn gpuferrySpecialize(program: cl_program, spec_id: u32, #[run] value: &[u8]);
    /// Headers of the guest's for builds that follow: `folders` folders, named 0, 1 … in `place`, a path for options `-I`. `files` is, for
    /// each header, the length of its name (u32), the name with its folder (`0/a/b.h`), the length of its text (u32) and the text.
    /// They are there until `gpuferryIncludesEnd` of that `number`.
    #[call(0x4069, wait)] #[block] #[by_hand(both)]
    fn gpuferryIncludes(
        folders: u32,
        #[len(bytes)] files: &[u8],
        bytes: usize,
        #[out] number: u32,
        #[out] place: Vec<u8>,
    );
    /// Takes them away.
    #[call(0x406a, post)] #[by_hand(both)]
    fn gpuferryIncludesEnd(number: u32);
}

trait Kernels {
    /// A kernel by name.
    #[call(0x4080, wait)]
    fn clCreateKernel(#[new] #[returned] kernel: cl_kernel, program: cl_program, kernel_name: &CStr);
    /// A copy of a kernel with its arguments.
    #[call(0x4081, wait)] #[by_hand(both)]
    fn gpuferryCloneKernel(#[new] clone: cl_kernel, source_kernel: cl_kernel);
    /// The guest holds a kernel no more.
    #[call(0x4082, post)]
    fn clReleaseKernel(#[free] kernel: cl_kernel);
    /// The shapes of a kernel's arguments (`SHAPE_…`, u32), in order, from `start` on: as many as a reply holds.
    #[call(0x4087, wait)] #[by_hand(both)]
    fn gpuferryKernelShapes(kernel: cl_kernel, start: u32, #[out] count: u32, #[out] shapes: Vec<u8>);
    /// Sets an argument; the host refuses bytes for what is a handle or may be one.
    #[call(0x4084, wait)] #[by_hand(both)]
    fn gpuferrySetArg(kernel: cl_kernel, index: u32, sort: u32, size: usize, #[run] value: &[u8]);
    /// More about a kernel's execution: shared virtual memory that it reaches (8 bytes each) or a number of 4 bytes.
    #[call(0x4085, wait)] #[by_hand(both)]
    fn gpuferryKernelExecInfo(kernel: cl_kernel, param: u32, #[run] value: &[u8]);
    /// The local size that the library would choose.
    #[call(0x4086, wait)] #[by_hand(both)]
    fn gpuferrySuggestedLocalSize(queue: cl_command_queue, kernel: cl_kernel, work: &Work, #[out] local: Triple);

    /// Sets arguments and launches. `changed` has, for each argument that was set since the kernel's last message: index u32, sort
    /// u32 (`ARG_…`), size u64, then its value, filled up to a multiple of 8 bytes.
    #[call(0x4090, either)] #[by_hand(both)]
    fn gpuferryLaunch(
        queue: cl_command_queue,
        kernel: cl_kernel,
        #[run(16)] changed: &[u8],
        work: &Work,
        #[len(num_events)] waits_for: &[cl_event],
        num_events: u32,
        #[new] #[optional] event: cl_event,
    );
}

trait Transfers {
    /// Reads, and returns when the data is there.
    #[call(0x40a0, wait)] #[block] #[by_hand(both)]
    fn gpuferryRead(
        queue: cl_command_queue,
        memory: cl_mem,
        area: &Area,
        #[out] #[len(bytes)] data: &mut [u8],
        bytes: usize,
        #[len(num_events)] waits_for: &[cl_event],
        num_events: u32,
        #[new] #[optional] event: cl_event,
    );
    /// Reads to shared memory (`gpuferryShare`) at `address`.
    #[call(0x40a1, either)] #[by_hand(both)]
    fn gpuferryReadTo(
        queue: cl_command_queue,
        memory: cl_mem,
        area: &Area,
        address: u64,
        bytes: usize,
        #[len(num_events)] waits_for: &[cl_event],
        num_events: u32,
        #[new] #[optional] event: cl_event,
    );
    /// Writes what lies in the frame; the host keeps it until the command has ended.
    #[call(0x40a2, either)] #[by_hand(both)]
    fn gpuferryWrite(
        queue: cl_command_queue,
        memory: cl_mem,
        area: &Area,
        #[run(16)] data: &[u8],
        #[len(num_events)] waits_for: &[cl_event],
        num_events: u32,
        #[new] #[optional] event: cl_event,
    );
    /// Writes from shared memory (`gpuferryShare`) at `address`, which the guest leaves alone until the command has ended.
    #[call(0x40a3, either)] #[by_hand(both)]
    fn gpuferryWriteFrom(
        queue: cl_command_queue,
        memory: cl_mem,
        area: &Area,
        address: u64,
        bytes: usize,
        #[len(num_events)] waits_for: &[cl_event],
        num_events: u32,
        #[new] #[optional] event: cl_event,
    );

    /// Copies bytes from buffer to buffer.
    #[call(0x40b0, either)]
    fn clEnqueueCopyBuffer(
        command_queue: cl_command_queue,
        src_buffer: cl_mem,
        dst_buffer: cl_mem,
        src_offset: usize,
        dst_offset: usize,
        size: usize,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// Copies a box from buffer to buffer.
    #[call(0x40b1, either)]
    fn clEnqueueCopyBufferRect(
        command_queue: cl_command_queue,
        src_buffer: cl_mem,
        dst_buffer: cl_mem,
        src_origin: &Triple,
        dst_origin: &Triple,
        region: &Triple,
        src_row_pitch: usize,
        src_slice_pitch: usize,
        dst_row_pitch: usize,
        dst_slice_pitch: usize,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// Fills a buffer with a pattern.
    #[call(0x40b2, either)]
    fn clEnqueueFillBuffer(
        command_queue: cl_command_queue,
        buffer: cl_mem,
        #[len(pattern_size)] pattern: &[u8],
        pattern_size: usize,
        offset: usize,
        size: usize,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// Copies a box from image to image.
    #[call(0x40b3, either)]
    fn clEnqueueCopyImage(
        command_queue: cl_command_queue,
        src_image: cl_mem,
        dst_image: cl_mem,
        src_origin: &Triple,
        dst_origin: &Triple,
        region: &Triple,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// Copies a box of an image to a buffer.
    #[call(0x40b4, either)]
    fn clEnqueueCopyImageToBuffer(
        command_queue: cl_command_queue,
        src_image: cl_mem,
        dst_buffer: cl_mem,
        src_origin: &Triple,
        region: &Triple,
        dst_offset: usize,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// Copies a buffer to a box of an image.
    #[call(0x40b5, either)]
    fn clEnqueueCopyBufferToImage(
        command_queue: cl_command_queue,
        src_buffer: cl_mem,
        dst_image: cl_mem,
        src_offset: usize,
        dst_origin: &Triple,
        region: &Triple,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// Fills a box of an image.
    #[call(0x40b6, either)]
    fn clEnqueueFillImage(
        command_queue: cl_command_queue,
        image: cl_mem,
        fill_color: &Color,
        origin: &Triple,
        region: &Triple,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// Says where memory objects are wanted.
    #[call(0x40b7, either)]
    fn clEnqueueMigrateMemObjects(
        command_queue: cl_command_queue,
        num_mem_objects: u32,
        #[len(num_mem_objects)] mem_objects: &[cl_mem],
        flags: u64,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
}

trait Events {
    /// Ends when other commands have.
    #[call(0x40c0, either)]
    fn clEnqueueMarkerWithWaitList(
        command_queue: cl_command_queue,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// Ends when other commands have; later ones begin then.
    #[call(0x40c1, either)]
    fn clEnqueueBarrierWithWaitList(
        command_queue: cl_command_queue,
        num_events_in_wait_list: u32,
        #[len(num_events_in_wait_list)] event_wait_list: &[cl_event],
        #[new] #[optional] event: cl_event,
    );
    /// An event that the program ends.
    #[call(0x40c2, wait)]
    fn clCreateUserEvent(#[new] #[returned] event: cl_event, context: cl_context);
    /// Ends such an event.
    #[call(0x40c3, either)]
    fn clSetUserEventStatus(event: cl_event, execution_status: i32);
    /// The guest holds an event no more.
    #[call(0x40c4, post)]
    fn clReleaseEvent(#[free] event: cl_event);
    /// Waits for events.
    #[call(0x40c5, wait)] #[block]
    fn clWaitForEvents(num_events: u32, #[len(num_events)] event_list: &[cl_event]);
    /// The execution status of each event (i32), in order; an event whose making failed has that code.
    #[call(0x40c6, wait)] #[by_hand(both)]
    fn gpuferryEventStates(#[len(num_events)] events: &[cl_event], num_events: u32, #[out] states: Vec<u8>);
    /// `id` is due (`gpuferryNextCallback`) with the status when the event reaches `kind` or fails.
    #[call(0x40c7, either)] #[by_hand(both)]
    fn gpuferryEventCallback(event: cl_event, kind: i32, id: u64);
    /// Lends the memory for `gpuferryWatchEvent`: `words` of 8 bytes, from the lease's first byte. Once a session; the host keeps
    /// the lease for as long as that lasts.
    #[call(0x40c8, wait)] #[by_hand(both)]
    fn gpuferryEventWords(lease: u32, words: u32);
    /// An event's execution status, and whether the host writes what becomes of it to word `slot`: the status in the low half, `tag`
    /// above. It is written when it changes, at the latest soon after the event has ended.
    #[call(0x40c9, wait)] #[by_hand(both)]
    fn gpuferryWatchEvent(event: cl_event, slot: u32, tag: u32, #[out] state: i32, #[out] is_watched: u32);
}

/// Functions that have no message of their own name: what becomes of them.
trait Guest {
    /// Opens the session.
    #[local]
    fn clGetPlatformIDs();
    /// Asked once, by `gpuferryInfo`; extensions are those that are carried.
    #[local]
    fn clGetPlatformInfo();
    /// From what was asked when the session opened.
    #[local]
    fn clGetDeviceIDs();
    /// Asked once, by `gpuferryInfo`; extensions and capabilities are those that are carried.
    #[local]
    fn clGetDeviceInfo();
    /// By `gpuferrySubDeviceCount` and `gpuferrySubDevices`.
    #[local]
    fn clCreateSubDevices();
    /// Counted in the guest.
    #[local]
    fn clRetainDevice();
    /// A hint that no host needs.
    #[local]
    fn clUnloadPlatformCompiler();
    /// A hint that no host needs.
    #[local]
    fn clUnloadCompiler();
    /// By `gpuferryContext`.
    #[local]
    fn clCreateContext();
    /// By `gpuferryContext`.
    #[local]
    fn clCreateContextFromType();
    /// Counted in the guest.
    #[local]
    fn clRetainContext();
    /// Known in the guest.
    #[local]
    fn clGetContextInfo();
    /// Called in the guest.
    #[local]
    fn clSetContextDestructorCallback();
    /// By `gpuferryInfo`.
    #[local]
    fn clGetSupportedImageFormats();
    /// By `gpuferryQueue`.
    #[local]
    fn clCreateCommandQueue();
    /// By `gpuferryQueue`.
    #[local]
    fn clCreateCommandQueueWithProperties();
    /// Counted in the guest.
    #[local]
    fn clRetainCommandQueue();
    /// Known in the guest.
    #[local]
    fn clGetCommandQueueInfo();
    /// Taken away by OpenCL 1.1: `CL_INVALID_OPERATION`.
    #[local]
    fn clSetCommandQueueProperty();
    /// By `gpuferryBuffer` or `gpuferrySvmBuffer`.
    #[local]
    fn clCreateBuffer();
    /// By `gpuferryBuffer` or `gpuferrySvmBuffer`; no property is known.
    #[local]
    fn clCreateBufferWithProperties();
    /// By `gpuferrySubBuffer`.
    #[local]
    fn clCreateSubBuffer();
    /// By `gpuferryImage`.
    #[local]
    fn clCreateImage();
    /// By `gpuferryImage`; no property is known.
    #[local]
    fn clCreateImageWithProperties();
    /// By `gpuferryImage`.
    #[local]
    fn clCreateImage2D();
    /// By `gpuferryImage`.
    #[local]
    fn clCreateImage3D();
    /// By `gpuferryPipe`.
    #[local]
    fn clCreatePipe();
    /// Counted in the guest.
    #[local]
    fn clRetainMemObject();
    /// Known in the guest; an image's size is asked once.
    #[local]
    fn clGetMemObjectInfo();
    /// Asked once, by `gpuferryInfo`.
    #[local]
    fn clGetImageInfo();
    /// Asked once, by `gpuferryInfo`.
    #[local]
    fn clGetPipeInfo();
    /// Called in the guest.
    #[local]
    fn clSetMemObjectDestructorCallback();
    /// By `gpuferrySampler`.
    #[local]
    fn clCreateSampler();
    /// By `gpuferrySampler`.
    #[local]
    fn clCreateSamplerWithProperties();
    /// Counted in the guest.
    #[local]
    fn clRetainSampler();
    /// Known in the guest.
    #[local]
    fn clGetSamplerInfo();
    /// By `gpuferryProgramSource`.
    #[local]
    fn clCreateProgramWithSource();
    /// By `gpuferryProgramBinary`.
    #[local]
    fn clCreateProgramWithBinary();
    /// By `gpuferryProgramIL`.
    #[local]
    fn clCreateProgramWithIL();
    /// By `gpuferryBuild`; with a function of the program's on a thread of its own.
    #[local]
    fn clBuildProgram();
    /// By `gpuferryCompile`; with a function of the program's on a thread of its own.
    #[local]
    fn clCompileProgram();
    /// By `gpuferryLink`.
    #[local]
    fn clLinkProgram();
    /// By `gpuferrySpecialize`.
    #[local]
    fn clSetProgramSpecializationConstant();
    /// Not in OpenCL 3.0: `CL_INVALID_OPERATION`.
    #[local]
    fn clSetProgramReleaseCallback();
    /// Counted in the guest.
    #[local]
    fn clRetainProgram();
    /// Source and devices are known in the guest; the rest by `gpuferryInfo`.
    #[local]
    fn clGetProgramInfo();
    /// Options are known in the guest; the rest by `gpuferryInfo`.
    #[local]
    fn clGetProgramBuildInfo();
    /// By names, and `clCreateKernel`.
    #[local]
    fn clCreateKernelsInProgram();
    /// By `gpuferryCloneKernel`.
    #[local]
    fn clCloneKernel();
    /// Counted in the guest.
    #[local]
    fn clRetainKernel();
    /// Kept in the guest and sent with the launch; by `gpuferrySetArg` where its class is new.
    #[local]
    fn clSetKernelArg();
    /// The same.
    #[local]
    fn clSetKernelArgSVMPointer();
    /// By `gpuferryKernelExecInfo`.
    #[local]
    fn clSetKernelExecInfo();
    /// Asked once, by `gpuferryInfo`.
    #[local]
    fn clGetKernelInfo();
    /// Asked once, by `gpuferryInfo`.
    #[local]
    fn clGetKernelArgInfo();
    /// By `gpuferryInfo`.
    #[local]
    fn clGetKernelWorkGroupInfo();
    /// By `gpuferryInfo`.
    #[local]
    fn clGetKernelSubGroupInfo();
    /// By `gpuferrySuggestedLocalSize`.
    #[local]
    fn clGetKernelSuggestedLocalWorkSize();
    /// By `gpuferryLaunch`: posted where its sizes are within known limits.
    #[local]
    fn clEnqueueNDRangeKernel();
    /// By `gpuferryLaunch`.
    #[local]
    fn clEnqueueTask();
    /// Not offered: `CL_INVALID_OPERATION`, as the devices say.
    #[local]
    fn clEnqueueNativeKernel();
    /// By `gpuferryRead`, or posted as `gpuferryReadTo`.
    #[local]
    fn clEnqueueReadBuffer();
    /// Posted as `gpuferryWrite` or `gpuferryWriteFrom`.
    #[local]
    fn clEnqueueWriteBuffer();
    /// By `gpuferryRead`, or posted as `gpuferryReadTo`.
    #[local]
    fn clEnqueueReadBufferRect();
    /// Posted as `gpuferryWrite` or `gpuferryWriteFrom`.
    #[local]
    fn clEnqueueWriteBufferRect();
    /// By `gpuferryRead`, or posted as `gpuferryReadTo`.
    #[local]
    fn clEnqueueReadImage();
    /// Posted as `gpuferryWrite` or `gpuferryWriteFrom`.
    #[local]
    fn clEnqueueWriteImage();
    /// Posted as `gpuferryReadTo`.
    #[local]
    fn clEnqueueMapBuffer();
    /// Posted as `gpuferryReadTo`.
    #[local]
    fn clEnqueueMapImage();
    /// Posted as `gpuferryWriteFrom`, or a marker where nothing was mapped for writing.
    #[local]
    fn clEnqueueUnmapMemObject();
    /// Posted as `clEnqueueMarkerWithWaitList`.
    #[local]
    fn clEnqueueMarker();
    /// Posted as `clEnqueueBarrierWithWaitList`.
    #[local]
    fn clEnqueueBarrier();
    /// Posted as `clEnqueueBarrierWithWaitList`.
    #[local]
    fn clEnqueueWaitForEvents();
    /// Known in the guest; the state of what has not ended by `gpuferryWatchEvent`, and after that from shared memory.
    #[local]
    fn clGetEventInfo();
    /// By `gpuferryInfo`.
    #[local]
    fn clGetEventProfilingInfo();
    /// By `gpuferryEventCallback`; called on the guest's thread.
    #[local]
    fn clSetEventCallback();
    /// Counted in the guest.
    #[local]
    fn clRetainEvent();
    /// By `gpuferrySvmAlloc`, with memory of the guest's at the same address.
    #[local]
    fn clSVMAlloc();
    /// Posted as `gpuferrySvmFree`.
    #[local]
    fn clSVMFree();
    /// A marker, and what follows from its end.
    #[local]
    fn clEnqueueSVMFree();
    /// Posted as `gpuferrySvmCopy`.
    #[local]
    fn clEnqueueSVMMemcpy();
    /// Posted as `gpuferrySvmFill`.
    #[local]
    fn clEnqueueSVMMemFill();
    /// Posted as `gpuferrySvmCopy`.
    #[local]
    fn clEnqueueSVMMap();
    /// Posted as `gpuferrySvmCopy`.
    #[local]
    fn clEnqueueSVMUnmap();
    /// By `gpuferrySvmMigrate`.
    #[local]
    fn clEnqueueSVMMigrateMem();
    /// The one symbol that is exported.
    #[local]
    fn clGetExtensionFunctionAddress();
    /// The same.
    #[local]
    fn clGetExtensionFunctionAddressForPlatform();
}

/// Shared virtual memory of the coarse kind. The host's library allocates it; the guest has memory of its own at the same addresses,
/// and bytes move between both when the program maps and unmaps.
trait SharedVirtualMemory {
    /// Allocates. No memory is `CL_OUT_OF_RESOURCES`.
    #[call(0x40e0, wait)] #[by_hand(both)]
    fn gpuferrySvmAlloc(context: cl_context, flags: u64, size: usize, alignment: u32, #[out] address: u64);
    /// Frees what begins at `address`.
    #[call(0x40e1, post)] #[by_hand(both)]
    fn gpuferrySvmFree(context: cl_context, address: u64);
    /// Copies; either side is shared virtual memory of the queue's context, or shared memory (`gpuferryShare`).
    #[call(0x40e2, either)] #[by_hand(both)]
    fn gpuferrySvmCopy(
        queue: cl_command_queue,
        to: u64,
        origin: u64,
        bytes: usize,
        #[len(num_events)] waits_for: &[cl_event],
        num_events: u32,
        #[new] #[optional] event: cl_event,
    );
    /// Fills with a pattern.
    #[call(0x40e3, either)] #[by_hand(both)]
    fn gpuferrySvmFill(
        queue: cl_command_queue,
        address: u64,
        #[run(16)] pattern: &[u8],
        bytes: usize,
        #[len(num_events)] waits_for: &[cl_event],
        num_events: u32,
        #[new] #[optional] event: cl_event,
    );
    /// Says where memory is wanted: addresses and sizes, 8 bytes each; a size of 0 is the whole allocation.
    #[call(0x40e4, either)] #[by_hand(both)]
    fn gpuferrySvmMigrate(
        queue: cl_command_queue,
        #[run] addresses: &[u8],
        #[run] sizes: &[u8],
        flags: u64,
        #[len(num_events)] waits_for: &[cl_event],
        num_events: u32,
        #[new] #[optional] event: cl_event,
    );
    /// A buffer in shared virtual memory.
    #[call(0x40e5, wait)] #[by_hand(both)]
    fn gpuferrySvmBuffer(#[new] buffer: cl_mem, context: cl_context, flags: u64, size: usize, address: u64);
}

trait Library {
    #[driver]
    fn clSVMAlloc(context: *mut c_void, flags: u64, size: usize, alignment: u32) -> *mut c_void;
    #[driver]
    fn clSVMFree(context: *mut c_void, svm_pointer: *mut c_void);
    #[driver]
    fn clEnqueueSVMMemcpy(
        queue: *mut c_void,
        blocking_copy: u32,
        dst_ptr: *mut c_void,
        src_ptr: *const c_void,
        size: usize,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clEnqueueSVMMemFill(
        queue: *mut c_void,
        svm_ptr: *mut c_void,
        pattern: *const c_void,
        pattern_size: usize,
        size: usize,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clEnqueueSVMMigrateMem(
        queue: *mut c_void,
        num_svm_pointers: u32,
        svm_pointers: *const *mut c_void,
        sizes: *const usize,
        flags: u64,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clRetainDevice(device: *mut c_void);
    #[driver]
    fn clRetainContext(context: *mut c_void);
    #[driver]
    fn clRetainCommandQueue(queue: *mut c_void);
    #[driver]
    fn clRetainMemObject(memobj: *mut c_void);
    #[driver]
    fn clRetainSampler(sampler: *mut c_void);
    #[driver]
    fn clRetainProgram(program: *mut c_void);
    #[driver]
    fn clRetainKernel(kernel: *mut c_void);
    #[driver]
    fn clRetainEvent(event: *mut c_void);
    #[driver]
    fn clCloneKernel(source_kernel: *mut c_void, errcode_ret: *mut i32) -> cl_kernel;
    #[driver]
    fn clGetPlatformIDs(num_entries: u32, platforms: *mut *mut c_void, num_platforms: *mut u32);
    #[driver]
    fn clGetPlatformInfo(platform: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clGetDeviceIDs(platform: *mut c_void, device_type: u64, num_entries: u32, devices: *mut *mut c_void, num_devices: *mut u32);
    #[driver]
    fn clGetDeviceInfo(device: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clCreateSubDevices(
        in_device: *mut c_void,
        properties: *const u64,
        num_devices: u32,
        out_devices: *mut *mut c_void,
        num_devices_ret: *mut u32,
    );
    #[driver]
    fn clCreateContext(
        properties: *const u64,
        num_devices: u32,
        devices: *const *mut c_void,
        pfn_notify: *const c_void,
        user_data: *mut c_void,
        errcode_ret: *mut i32,
    ) -> cl_context;
    #[driver]
    fn clCreateCommandQueueWithProperties(
        context: *mut c_void,
        device: *mut c_void,
        properties: *const u64,
        errcode_ret: *mut i32,
    ) -> cl_command_queue;
    #[driver]
    fn clCreateCommandQueue(context: *mut c_void, device: *mut c_void, properties: u64, errcode_ret: *mut i32) -> cl_command_queue;
    #[driver]
    fn clGetCommandQueueInfo(queue: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clCreateBuffer(context: *mut c_void, flags: u64, size: usize, host_ptr: *mut c_void, errcode_ret: *mut i32) -> cl_mem;
    #[driver]
    fn clCreateSubBuffer(
        buffer: *mut c_void,
        flags: u64,
        buffer_create_type: u32,
        buffer_create_info: *const c_void,
        errcode_ret: *mut i32,
    ) -> cl_mem;
    #[driver]
    fn clCreateImage(
        context: *mut c_void,
        flags: u64,
        image_format: *const c_void,
        image_desc: *const c_void,
        host_ptr: *mut c_void,
        errcode_ret: *mut i32,
    ) -> cl_mem;
    #[driver]
    fn clCreatePipe(
        context: *mut c_void,
        flags: u64,
        pipe_packet_size: u32,
        pipe_max_packets: u32,
        properties: *const u64,
        errcode_ret: *mut i32,
    ) -> cl_mem;
    #[driver]
    fn clGetMemObjectInfo(memobj: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clGetImageInfo(image: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clGetPipeInfo(pipe: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clGetSupportedImageFormats(
        context: *mut c_void,
        flags: u64,
        image_type: u32,
        num_entries: u32,
        image_formats: *mut c_void,
        num_image_formats: *mut u32,
    );
    #[driver]
    fn clCreateSamplerWithProperties(context: *mut c_void, properties: *const u64, errcode_ret: *mut i32) -> cl_sampler;
    #[driver]
    fn clCreateSampler(
        context: *mut c_void,
        normalized_coords: u32,
        addressing_mode: u32,
        filter_mode: u32,
        errcode_ret: *mut i32,
    ) -> cl_sampler;
    #[driver]
    fn clCreateProgramWithSource(
        context: *mut c_void,
        count: u32,
        strings: *mut *const c_char,
        lengths: *const usize,
        errcode_ret: *mut i32,
    ) -> cl_program;
    #[driver]
    fn clCreateProgramWithBinary(
        context: *mut c_void,
        num_devices: u32,
        device_list: *const *mut c_void,
        lengths: *const usize,
        binaries: *mut *const u8,
        binary_status: *mut i32,
        errcode_ret: *mut i32,
    ) -> cl_program;
    #[driver]
    fn clCreateProgramWithIL(context: *mut c_void, il: *const c_void, length: usize, errcode_ret: *mut i32) -> cl_program;
    #[driver]
    fn clBuildProgram(
        program: *mut c_void,
        num_devices: u32,
        device_list: *const *mut c_void,
        options: *const c_char,
        pfn_notify: *const c_void,
        user_data: *mut c_void,
    );
    #[driver]
    fn clCompileProgram(
        program: *mut c_void,
        num_devices: u32,
        device_list: *const *mut c_void,
        options: *const c_char,
        num_input_headers: u32,
        input_headers: *const *mut c_void,
        header_include_names: *mut *const c_char,
        pfn_notify: *const c_void,
        user_data: *mut c_void,
    );
    #[driver]
    fn clLinkProgram(
        context: *mut c_void,
        num_devices: u32,
        device_list: *const *mut c_void,
        options: *const c_char,
        num_input_programs: u32,
        input_programs: *const *mut c_void,
        pfn_notify: *const c_void,
        user_data: *mut c_void,
        errcode_ret: *mut i32,
    ) -> cl_program;
    #[driver]
    fn clSetProgramSpecializationConstant(program: *mut c_void, spec_id: u32, spec_size: usize, spec_value: *const c_void);
    #[driver]
    fn clGetProgramInfo(program: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clGetProgramBuildInfo(
        program: *mut c_void,
        device: *mut c_void,
        param_name: u32,
        size: usize,
        value: *mut c_void,
        ret: *mut usize,
    );
    #[driver]
    fn clSetKernelArg(kernel: *mut c_void, arg_index: u32, arg_size: usize, arg_value: *const c_void);
    #[driver]
    fn clSetKernelArgSVMPointer(kernel: *mut c_void, arg_index: u32, arg_value: *const c_void);
    #[driver]
    fn clSetKernelExecInfo(kernel: *mut c_void, param_name: u32, size: usize, value: *const c_void);
    #[driver]
    fn clGetKernelInfo(kernel: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clGetKernelArgInfo(
        kernel: *mut c_void,
        arg_index: u32,
        param_name: u32,
        size: usize,
        value: *mut c_void,
        ret: *mut usize,
    );
    #[driver]
    fn clGetKernelWorkGroupInfo(
        kernel: *mut c_void,
        device: *mut c_void,
        param_name: u32,
        size: usize,
        value: *mut c_void,
        ret: *mut usize,
    );
    #[driver]
    fn clGetKernelSubGroupInfo(
        kernel: *mut c_void,
        device: *mut c_void,
        param_name: u32,
        input_size: usize,
        input: *const c_void,
        size: usize,
        value: *mut c_void,
        ret: *mut usize,
    );
    #[driver]
    fn clEnqueueNDRangeKernel(
        queue: *mut c_void,
        kernel: *mut c_void,
        work_dim: u32,
        global_work_offset: *const usize,
        global_work_size: *const usize,
        local_work_size: *const usize,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clEnqueueReadBuffer(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        offset: usize,
        size: usize,
        ptr: *mut c_void,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clEnqueueWriteBuffer(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        offset: usize,
        size: usize,
        ptr: *const c_void,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clEnqueueReadBufferRect(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        buffer_origin: *const usize,
        host_origin: *const usize,
        region: *const usize,
        buffer_row_pitch: usize,
        buffer_slice_pitch: usize,
        host_row_pitch: usize,
        host_slice_pitch: usize,
        ptr: *mut c_void,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clEnqueueWriteBufferRect(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        buffer_origin: *const usize,
        host_origin: *const usize,
        region: *const usize,
        buffer_row_pitch: usize,
        buffer_slice_pitch: usize,
        host_row_pitch: usize,
        host_slice_pitch: usize,
        ptr: *const c_void,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clEnqueueReadImage(
        queue: *mut c_void,
        image: *mut c_void,
        blocking: u32,
        origin: *const usize,
        region: *const usize,
        row_pitch: usize,
        slice_pitch: usize,
        ptr: *mut c_void,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clEnqueueWriteImage(
        queue: *mut c_void,
        image: *mut c_void,
        blocking: u32,
        origin: *const usize,
        region: *const usize,
        row_pitch: usize,
        slice_pitch: usize,
        ptr: *const c_void,
        num_events_in_wait_list: u32,
        event_wait_list: *const *mut c_void,
        event: *mut *mut c_void,
    );
    #[driver]
    fn clGetEventInfo(event: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clGetEventProfilingInfo(event: *mut c_void, param_name: u32, size: usize, value: *mut c_void, ret: *mut usize);
    #[driver]
    fn clSetEventCallback(event: *mut c_void, kind: i32, pfn_notify: *const c_void, user_data: *mut c_void);
    #[driver]
    fn clGetKernelSuggestedLocalWorkSize(
        queue: *mut c_void,
        kernel: *mut c_void,
        work_dim: u32,
        global_work_offset: *const usize,
        global_work_size: *const usize,
        suggested_local_work_size: *mut usize,
    );
    #[driver]
    fn clGetExtensionFunctionAddressForPlatform(platform: *mut c_void, name: *const c_char) -> *mut c_void;
}
