//! Ordinary CUDA driver-API programs for the demo, the tests and the checks on a GPU.
//!
//! Each is one program of `src/bin`; none knows where its calls go. Here is what they share: [`driver`], the library found by
//! name; [`any`], the same with any function and any arguments; [`opencl`], the OpenCL loader; [`pictures`], pictures in
//! files; [`painted`], what is said of one; [`sample`], a picture where none is given.

pub mod any;
pub mod driver;
pub mod groups;
pub mod opencl;
pub mod painted;
pub mod pictures;
pub mod sample;

/// Prints one line to the error stream and ends the program with `status`.
pub fn fail(program: &str, status: i32, message: &str) -> ! {
    eprintln!("{program}: {message}");
    std::process::exit(status)
}
