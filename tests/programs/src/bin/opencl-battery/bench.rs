//! What the groups work with: a device, a queue in order, and how a line is printed.

use std::ffi::CString;
use std::fmt::Display;
use std::sync::Arc;

use programs::opencl::{BLOCKING, Object, OpenCl, Start, Status};
use programs::{cl, make_cl, must_cl};

/// The kernels of all groups.
pub const KERNELS: &str = "
kernel void add(global const int *a, global const int *b, global int *sum) { size_t i = get_global_id(0); sum[i] = a[i] + b[i]; }
kernel void scale(global int *a, int by) { a[get_global_id(0)] *= by; }
kernel void where_am_i(global uint *a) {
    size_t at = (get_global_id(1) - get_global_offset(1)) * get_global_size(0) + get_global_id(0) - get_global_offset(0);
    a[at] = get_global_id(0) * 1000000 + get_global_id(1) * 1000 + get_local_id(0) * 10 + get_group_id(1);
}
kernel void turn_in_group(global int *a, local int *line) {
    size_t l = get_local_id(0), n = get_local_size(0);
    line[l] = a[get_global_id(0)];
    barrier(CLK_LOCAL_MEM_FENCE);
    a[get_global_id(0)] = line[n - 1 - l];
}
kernel void sizes(global ulong *a, char b, short c, int d, long e, float f, double2_or_int2 g) {
    a[0] = b; a[1] = c; a[2] = d; a[3] = e; a[4] = (ulong)f; a[5] = g.x; a[6] = g.y;
}
constant sampler_t nearest = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_NEAREST;
kernel void from_image(read_only image2d_t image, sampler_t any, global uint4 *out, int width) {
    int2 at = (int2)(get_global_id(0), get_global_id(1));
    out[at.y * width + at.x] = read_imageui(image, nearest, at) + read_imageui(image, any, at);
}
";

/// A device and what was opened on it. `Arc`, because each group names its own copy.
#[derive(Clone)]
pub struct Bench {
    pub start: Arc<Start>,
    group: &'static str,
}

impl Bench {
    pub fn open() -> Result<Bench, String> {
        Ok(Bench { start: Arc::new(Start::on(0, 0, 0)?), group: "" })
    }

    pub fn named(&self, group: &'static str) -> Bench {
        Bench { group, ..self.clone() }
    }

    pub fn opencl(&self) -> &OpenCl {
        &self.start.opencl
    }

    /// A line of this group.
    pub fn say(&self, what: &str, value: impl Display) {
        println!("{}: {what}: {value}", self.group);
    }

    /// A line with an answer of the API.
    pub fn code(&self, what: &str, status: Status) {
        self.say(what, status);
    }

    pub fn program(&self) -> Result<Object, String> {
        self.start.build(&KERNELS.replace("double2_or_int2", "int2"))
    }

    pub fn kernel(&self, program: Object, name: &str) -> Result<Object, String> {
        let name = CString::new(name).map_err(|error| error.to_string())?;
        make_cl!(self.opencl(), clCreateKernel(program, name.as_ptr()))
    }

    /// A buffer that holds these numbers.
    pub fn buffer(&self, numbers: &[i32]) -> Result<Object, String> {
        let (bytes, data) = (size_of_val(numbers), numbers.as_ptr().cast_mut().cast());
        make_cl!(self.opencl(), clCreateBuffer(self.start.context, 1 | 1 << 5, bytes, data))
    }

    /// The first numbers of a buffer.
    pub fn read<T: Default + Clone>(&self, buffer: Object, count: usize) -> Result<Vec<T>, String> {
        let mut numbers = vec![T::default(); count];
        let (bytes, to) = (size_of_val(&numbers[..]), numbers.as_mut_ptr().cast());
        let (queue, none) = (self.start.queue, std::ptr::null());
        must_cl!(
            self.opencl(),
            clEnqueueReadBuffer(queue, buffer, BLOCKING, 0, bytes, to, 0, none, std::ptr::null_mut())
        )?;
        Ok(numbers)
    }

    /// Launches a kernel over `global` items in one dimension; the answer.
    pub fn launch(&self, kernel: Object, global: usize, local: Option<usize>) -> Status {
        let local = local.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (queue, none, list) = (self.start.queue, std::ptr::null(), std::ptr::null());
        cl!(
            self.opencl(),
            clEnqueueNDRangeKernel(queue, kernel, 1, none, &global, local, 0, list, std::ptr::null_mut())
        )
    }

    pub fn free(&self, memory: Object) -> Result<(), String> {
        must_cl!(self.opencl(), clReleaseMemObject(memory))
    }
}

/// Numbers as they are printed.
pub fn listed<T: Display>(numbers: &[T]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    words.join(" ")
}
