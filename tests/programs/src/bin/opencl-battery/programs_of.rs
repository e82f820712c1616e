//! Programs and kernels, wrong ones too.

use std::ffi::c_char;

use programs::opencl::{Object, Status};
use programs::{cl, must_cl};

use crate::bench::{Bench, listed};

/// A program of a text, and how its build ends.
fn built(bench: &Bench, text: &str, options: &std::ffi::CStr) -> Result<(Object, Status), String> {
    let cl = bench.opencl();
    let (source, length) = (text.as_ptr().cast::<c_char>(), text.len());
    let program = programs::make_cl!(cl, clCreateProgramWithSource(bench.start.context, 1, &source, &length))?;
    let (devices, none) = (&raw const bench.start.device, std::ptr::null());
    Ok((program, cl!(cl, clBuildProgram(program, 1, devices, options.as_ptr(), none, std::ptr::null_mut()))))
}

/// Builds that succeed and fail; binaries.
pub fn programs(bench: &Bench) -> Result<(), String> {
    let cl = bench.opencl();
    let number = |program, param| {
        let mut value = 0i64;
        let to = (&raw mut value).cast();
        let status = cl!(cl, clGetProgramBuildInfo(program, bench.start.device, param, 8, to, std::ptr::null_mut()));
        format!("{status}, {value}")
    };
    for (what, text, options) in [
        ("good", "kernel void k(global int *a) { *a = WHAT; }", c"-DWHAT=7"),
        ("bad", "kernel void k(global int *a) { *a = WHAT; }", c""),
        ("unknown option", "kernel void k(global int *a) { *a = 7; }", c"--no-such-option"),
        ("error", "#error told so", c""),
        ("empty", " ", c""),
    ] {
        let (program, status) = built(bench, text, options)?;
        bench.code(what, status);
        bench.say("its status", number(program, 0x1181));
        bench.say("its log says so", bench.start.build_log(program).contains("told so"));
        must_cl!(cl, clReleaseProgram(program))?;
    }
    let (program, _) = built(bench, "kernel void a(int x) {} kernel void b(global float *y, local int *z) {}", c"")?;
    let mut names = [0u8; 64];
    let status = cl!(cl, clGetProgramInfo(program, 0x1168, 64, names.as_mut_ptr().cast(), std::ptr::null_mut()));
    bench.say("kernels", format!("{status}, {}", String::from_utf8_lossy(&names).trim_end_matches('\0')));
    from_binary(bench, program)?;
    must_cl!(cl, clReleaseProgram(program))?;
    headers(bench)
}

/// Headers in folders of this machine.
fn headers(bench: &Bench) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("opencl-battery-{}", std::process::id()));
    let deep = folder.join("deep");
    let failed = |error: std::io::Error| format!("headers: {error}");
    std::fs::create_dir_all(&deep).map_err(failed)?;
    for (name, text) in [
        ("number.h", "#pragma once\n#include \"deep/more.h\"\n#define NUMBER (MORE + 1)\n"),
        ("deep/more.h", "#include \"beside.h\"\n#include \"../number.h\"\n"),
        ("deep/beside.h", "#define MORE 41\n"),
        ("bad.h", "#error told so\n"),
    ] {
        std::fs::write(folder.join(name), text).map_err(failed)?;
    }
    let options =
        std::ffi::CString::new(format!("-I {0} -DX=1 -D S_(x)=#x -D S(x)=S_(x) -D WHERE={0}", folder.display()))
            .map_err(|error| error.to_string())?;
    let absolute =
        format!("#include \"{}\"\nkernel void k(global int *a) {{ *a = NUMBER; }}", folder.join("number.h").display());
    for (what, text) in [
        ("by its whole path", &absolute[..]),
        ("a header", "#include \"number.h\"\nkernel void k(global int *a) { *a = NUMBER; }"),
        ("in brackets", "#include <deep/more.h>\nkernel void k(global int *a) { *a = MORE; }"),
        ("by a macro", "#include S(WHERE/deep/more.h)\nkernel void k(global int *a) { *a = MORE; }"),
        ("no such header", "#include \"none.h\"\nkernel void k(global int *a) { *a = 7; }"),
        ("a bad header", "#include \"bad.h\"\n"),
    ] {
        let (program, status) = built(bench, text, &options)?;
        bench.code(what, status);
        bench.say(
            "its log has the folder",
            bench.start.build_log(program).contains(&*deep.with_file_name("bad.h").to_string_lossy()),
        );
        if what == "a header" {
            let (kernel, buffer) = (bench.kernel(program, "k")?, bench.buffer(&[0])?);
            bench.start.argument(kernel, 0, &buffer)?;
            bench.code("launch", bench.launch(kernel, 1, None));
            bench.say("number", listed(&bench.read::<i32>(buffer, 1)?));
            must_cl!(bench.opencl(), clReleaseKernel(kernel))?;
            bench.free(buffer)?;
        }
        must_cl!(bench.opencl(), clReleaseProgram(program))?;
    }
    std::fs::remove_dir_all(folder).map_err(failed)
}

/// The program's binary, made a program again.
fn from_binary(bench: &Bench, program: Object) -> Result<(), String> {
    let cl = bench.opencl();
    let mut size = 0usize;
    must_cl!(cl, clGetProgramInfo(program, 0x1165, 8, (&raw mut size).cast(), std::ptr::null_mut()))?;
    let mut binary = vec![0u8; size];
    let mut place = binary.as_mut_ptr();
    must_cl!(cl, clGetProgramInfo(program, 0x1166, 8, (&raw mut place).cast(), std::ptr::null_mut()))?;
    bench.say("a binary", size != 0 && binary.iter().any(|byte| *byte != 0));
    for (what, bytes) in [("again", &binary[..]), ("nonsense", &b"nonsense"[..])] {
        let (length, data) = (bytes.len(), bytes.as_ptr());
        let (mut state, mut status) = (0, 0);
        let device = &raw const bench.start.device;
        let made =
            cl!(cl, clCreateProgramWithBinary(bench.start.context, 1, device, &length, &data, &mut state, &mut status));
        bench.say(what, format!("{status}, {state}"));
        if status == 0 {
            let none = std::ptr::null();
            let built = cl!(cl, clBuildProgram(made, 1, device, c"".as_ptr(), none, std::ptr::null_mut()));
            bench.code("its build", built);
            must_cl!(cl, clReleaseProgram(made))?;
        }
    }
    Ok(())
}

/// Arguments, right and wrong, and what kernels say of them.
pub fn kernels(bench: &Bench) -> Result<(), String> {
    let cl = bench.opencl();
    let program = bench.program()?;
    let mut status = 0;
    cl!(cl, clCreateKernel(program, c"no_such".as_ptr(), &mut status));
    bench.code("no such kernel", status);
    let scale = bench.kernel(program, "scale")?;
    let numbers = bench.buffer(&[1, 2, 3, 4, 5, 6, 7, 8])?;
    bench.code("launch without arguments", bench.launch(scale, 8, None));
    let set =
        |index: u32, size: usize, value: *const std::ffi::c_void| cl!(cl, clSetKernelArg(scale, index, size, value));
    let (by, wide) = (3i32, 3i64);
    bench.code("argument 0", set(0, 8, (&raw const numbers).cast()));
    bench.code("argument 1", set(1, 4, (&raw const by).cast()));
    bench.code("argument 2", set(2, 4, (&raw const by).cast()));
    bench.code("too wide", set(1, 8, (&raw const wide).cast()));
    bench.code("null for a number", set(1, 4, std::ptr::null()));
    bench.code("null for a buffer", set(0, 8, std::ptr::null()));
    bench.code("a buffer of 4 bytes", set(0, 4, (&raw const numbers).cast()));
    bench.code("argument 0 again", set(0, 8, (&raw const numbers).cast()));
    for _ in 0..3 {
        bench.code("launch", bench.launch(scale, 8, None));
    }
    bench.say("scaled", listed(&bench.read::<i32>(numbers, 8)?));
    bench.code("groups that do not divide", bench.launch(scale, 8, Some(3)));
    bench.code("groups that are too large", bench.launch(scale, 1 << 20, Some(1 << 20)));
    bench.code("no items", bench.launch(scale, 0, None));
    facts(bench, scale, program)?;
    sizes(bench, program)?;
    few_and_many(bench)?;
    must_cl!(cl, clReleaseKernel(scale))?;
    must_cl!(cl, clReleaseProgram(program))?;
    bench.free(numbers)
}

/// What a kernel says of itself.
fn facts(bench: &Bench, scale: Object, program: Object) -> Result<(), String> {
    let cl = bench.opencl();
    let image = bench.kernel(program, "from_image")?;
    for (kernel, count) in [(scale, 2), (image, 4)] {
        for param in [0x1190, 0x1191] {
            let mut value = [0u8; 64];
            let status = cl!(cl, clGetKernelInfo(kernel, param, 64, value.as_mut_ptr().cast(), std::ptr::null_mut()));
            bench.say(&format!("{param:#x}"), format!("{status}, {}", listed(&value[..16])));
        }
        for (index, param) in (0..count).flat_map(|index| (0x1196..=0x119A).map(move |param| (index, param))) {
            let mut value = [0u8; 64];
            let to = value.as_mut_ptr().cast();
            let status = cl!(cl, clGetKernelArgInfo(kernel, index, param, 64, to, std::ptr::null_mut()));
            bench.say(&format!("argument {index} {param:#x}"), format!("{status}, {}", listed(&value[..16])));
        }
    }
    must_cl!(cl, clReleaseKernel(image))
}

/// A kernel without arguments, and one with more of them than a message tells of.
fn few_and_many(bench: &Bench) -> Result<(), String> {
    const MANY: u32 = 600;
    let names: String = (0..MANY).map(|index| format!(", int a{index}")).collect();
    let sum: String = (0..MANY).map(|index| format!(" + a{index}")).collect();
    let source = format!("kernel void none() {{}}\nkernel void many(global int *sum{names}) {{ *sum = 0{sum}; }}");
    let program = bench.start.build(&source)?;
    let (none, many) = (bench.kernel(program, "none")?, bench.kernel(program, "many")?);
    bench.code("no arguments", bench.launch(none, 4, None));
    let out = bench.buffer(&[0])?;
    bench.start.argument(many, 0, &out)?;
    for index in 1..=MANY {
        bench.start.argument(many, index, &index)?;
    }
    bench.code("many arguments", bench.launch(many, 1, None));
    bench.say("their sum", bench.read::<u32>(out, 1)?[0]);
    for kernel in [none, many] {
        must_cl!(bench.opencl(), clReleaseKernel(kernel))?;
    }
    must_cl!(bench.opencl(), clReleaseProgram(program))?;
    bench.free(out)
}

/// Arguments of every size.
fn sizes(bench: &Bench, program: Object) -> Result<(), String> {
    let kernel = bench.kernel(program, "sizes")?;
    let out = bench.buffer(&[0; 16])?;
    bench.start.argument(kernel, 0, &out)?;
    bench.start.argument(kernel, 1, &1i8)?;
    bench.start.argument(kernel, 2, &2i16)?;
    bench.start.argument(kernel, 3, &3i32)?;
    bench.start.argument(kernel, 4, &0x7fff_0000_1234i64)?;
    bench.start.argument(kernel, 5, &5f32)?;
    bench.start.argument(kernel, 6, &[6i32, 7])?;
    bench.code("sizes", bench.launch(kernel, 1, None));
    bench.say("values", listed(&bench.read::<u64>(out, 7)?));
    must_cl!(bench.opencl(), clReleaseKernel(kernel))?;
    bench.free(out)
}
