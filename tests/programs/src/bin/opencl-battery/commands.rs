//! Launches, copies, fills, boxes and maps.

use std::ffi::c_void;

use programs::opencl::BLOCKING;
use programs::{cl, make_cl, must_cl};

use crate::bench::{Bench, listed};

/// What commands do, and what they refuse.
pub fn commands(bench: &Bench) -> Result<(), String> {
    let (cl, queue, none, event) = (bench.opencl(), bench.start.queue, std::ptr::null(), std::ptr::null_mut());
    let program = bench.program()?;
    let [a, b, sum] = [bench.buffer(&[1; 4096])?, bench.buffer(&[41; 4096])?, bench.buffer(&[0; 4096])?];
    let add = bench.kernel(program, "add")?;
    for (index, buffer) in [(0, a), (1, b), (2, sum)] {
        bench.start.argument(add, index, &buffer)?;
    }
    bench.code("add", bench.launch(add, 4096, Some(64)));
    bench.say("sum", bench.read::<i32>(sum, 4096)?.iter().all(|number| *number == 42));

    let turn = bench.kernel(program, "turn_in_group")?;
    let line = bench.buffer(&[1, 2, 3, 4, 5, 6, 7, 8])?;
    bench.start.argument(turn, 0, &line)?;
    must_cl!(cl, clSetKernelArg(turn, 1, 16, std::ptr::null()))?;
    bench.code("turn", bench.launch(turn, 8, Some(4)));
    bench.say("turned", listed(&bench.read::<i32>(line, 8)?));

    let here = bench.kernel(program, "where_am_i")?;
    bench.start.argument(here, 0, &sum)?;
    let (offset, global, local) = ([5usize, 7], [4usize, 2], [2usize, 1]);
    let (offset, global, local) = (offset.as_ptr(), global.as_ptr(), local.as_ptr());
    must_cl!(cl, clEnqueueNDRangeKernel(queue, here, 2, offset, global, local, 0, std::ptr::null(), event))?;
    bench.say("places", listed(&bench.read::<u32>(sum, 8)?));
    for dimensions in [0, 4] {
        let status =
            cl!(cl, clEnqueueNDRangeKernel(queue, here, dimensions, offset, global, local, 0, std::ptr::null(), event));
        bench.code("dimensions", status);
    }

    let pattern = [0x0102_0304u32, 0x0506_0708];
    let fill = |size, offset, bytes| {
        cl!(cl, clEnqueueFillBuffer(queue, sum, pattern.as_ptr().cast(), size, offset, bytes, 0, none, event))
    };
    bench.code("fill", fill(8, 16, 32));
    bench.code("fill askew", fill(8, 4, 32));
    bench.code("fill by 3", fill(3, 0, 9));
    bench.code("fill outside", fill(8, 16384, 8));
    bench.say("filled", listed(&bench.read::<u32>(sum, 14)?));
    let copy = |from, to, bytes| cl!(cl, clEnqueueCopyBuffer(queue, a, sum, from, to, bytes, 0, none, event));
    bench.code("copy", copy(0, 8, 8));
    bench.code("copy outside", copy(16380, 0, 8));
    bench.code("copy of nothing", copy(0, 0, 0));
    bench.say("copied", listed(&bench.read::<u32>(sum, 6)?));
    boxes(bench, line)?;
    large(bench)?;
    behind_a_gate(bench)?;
    for kernel in [add, turn, here] {
        must_cl!(cl, clReleaseKernel(kernel))?;
    }
    must_cl!(cl, clReleaseProgram(program))?;
    [a, b, sum, line].into_iter().try_for_each(|buffer| bench.free(buffer))
}

/// A box of a buffer, with gaps on both sides.
fn boxes(bench: &Bench, line: usize) -> Result<(), String> {
    let (cl, queue, none, event) = (bench.opencl(), bench.start.queue, std::ptr::null(), std::ptr::null_mut());
    let mut back = [9u8; 48];
    let (origin, host, region) = ([4usize, 1, 0], [2usize, 0, 0], [4usize, 2, 1]);
    let (origin, host, region) = (origin.as_ptr(), host.as_ptr(), region.as_ptr());
    let mut read = |row: usize| {
        let to = back.as_mut_ptr().cast();
        cl!(cl, clEnqueueReadBufferRect(queue, line, BLOCKING, origin, host, region, 8, 0, row, 0, to, 0, none, event))
    };
    let statuses = [read(16), read(2)];
    bench.say("boxes", listed(&statuses));
    bench.say("a box", listed(&back));
    Ok(())
}

/// More bytes than a message holds, written without and with waiting.
fn large(bench: &Bench) -> Result<(), String> {
    const COUNT: usize = 1 << 20;
    let (cl, queue, none, event) = (bench.opencl(), bench.start.queue, std::ptr::null(), std::ptr::null_mut());
    let numbers: Vec<i32> = (0..COUNT as i32).collect();
    let buffer = bench.buffer(&vec![0; COUNT])?;
    let mut back = vec![0i32; COUNT];
    for blocking in [0, BLOCKING] {
        let (data, to) = (numbers.as_ptr().cast::<c_void>(), back.as_mut_ptr().cast::<c_void>());
        must_cl!(cl, clEnqueueFillBuffer(queue, buffer, [0u32].as_ptr().cast(), 4, 0, COUNT * 4, 0, none, event))?;
        must_cl!(cl, clEnqueueWriteBuffer(queue, buffer, blocking, 4, COUNT * 4 - 4, data, 0, none, event))?;
        must_cl!(cl, clEnqueueReadBuffer(queue, buffer, blocking, 0, COUNT * 4, to, 0, none, event))?;
        must_cl!(cl, clFinish(queue))?;
        let right = back[0] == 0 && back[1..] == numbers[..COUNT - 1];
        bench.say(if blocking == 0 { "large, not waited for" } else { "large, waited for" }, right);
        back.fill(-1);
    }
    let to = back.as_mut_ptr().cast();
    let status = cl!(cl, clEnqueueReadBuffer(queue, buffer, BLOCKING, 8, COUNT * 4, to, 0, none, event));
    bench.code("outside", status);
    bench.free(buffer)
}

/// More bytes than are carried at a time, read without waiting while the program itself holds the queue up.
fn behind_a_gate(bench: &Bench) -> Result<(), String> {
    const COUNT: usize = 10 << 20;
    let (cl, queue, none, event) = (bench.opencl(), bench.start.queue, std::ptr::null(), std::ptr::null_mut());
    let numbers: Vec<i32> = (0..COUNT as i32).collect();
    let buffer = bench.buffer(&numbers)?;
    let mut back = vec![0i32; COUNT];
    let to = back.as_mut_ptr().cast();
    let gate = make_cl!(cl, clCreateUserEvent(bench.start.context))?;
    let mut read = 0;
    must_cl!(cl, clEnqueueReadBuffer(queue, buffer, 0, 0, COUNT * 4, to, 1, &gate, &mut read))?;
    must_cl!(cl, clEnqueueFillBuffer(queue, buffer, [7u32].as_ptr().cast(), 4, 0, COUNT * 4, 0, none, event))?;
    must_cl!(cl, clEnqueueReadBuffer(queue, buffer, 0, 0, COUNT * 4, to, 0, none, event))?;
    bench.code("the gate opens", cl!(cl, clSetUserEventStatus(gate, 0)));
    must_cl!(cl, clFinish(queue))?;
    bench.say("read behind the gate, and then what came after", back.iter().all(|number| *number == 7));
    must_cl!(cl, clEnqueueWriteBuffer(queue, buffer, 0, 0, COUNT * 4, numbers.as_ptr().cast(), 0, none, event))?;
    must_cl!(cl, clReleaseEvent(read))?;
    must_cl!(cl, clEnqueueReadBuffer(queue, buffer, 0, 0, COUNT * 4, to, 0, none, &mut read))?;
    must_cl!(cl, clEnqueueFillBuffer(queue, buffer, [8u32].as_ptr().cast(), 4, 0, COUNT * 4, 0, none, event))?;
    must_cl!(cl, clWaitForEvents(1, &read))?;
    bench.say("read before what came after", back == numbers);
    must_cl!(cl, clReleaseEvent(read))?;
    must_cl!(cl, clReleaseEvent(gate))?;
    bench.free(buffer)
}

/// Maps for reading and writing.
pub fn maps(bench: &Bench) -> Result<(), String> {
    let (cl, queue, none, event) = (bench.opencl(), bench.start.queue, std::ptr::null(), std::ptr::null_mut());
    let mut own = vec![0i32; 4096];
    let host = own.as_mut_ptr().cast();
    let numbers: Vec<i32> = (0..4096).collect();
    let allocated = make_cl!(cl, clCreateBuffer(bench.start.context, 1 | 1 << 4, 16384, std::ptr::null_mut()))?;
    let used = make_cl!(cl, clCreateBuffer(bench.start.context, 1 | 1 << 3, 16384, host))?;
    // What a buffer holds at first, nothing says.
    must_cl!(cl, clEnqueueFillBuffer(queue, allocated, [0u32].as_ptr().cast(), 4, 0, 16384, 0, none, event))?;
    for (what, buffer) in [("plain", bench.buffer(&numbers)?), ("allocated", allocated), ("used", used)] {
        let mut status = 0;
        let write = cl!(cl, clEnqueueMapBuffer(queue, buffer, BLOCKING, 2, 4096, 8192, 0, none, event, &mut status));
        bench.code(what, status);
        bench.say("at its own address", write.addr() == host.addr() + 4096);
        let write = write.cast::<i32>();
        for place in 0..2048 {
            // SAFETY: 8192 bytes are mapped.
            unsafe { write.add(place).write(place as i32 * 3) };
        }
        bench.code("unmap", cl!(cl, clEnqueueUnmapMemObject(queue, buffer, write.cast(), 0, none, event)));
        must_cl!(cl, clFinish(queue))?;
        bench.say("written", listed(&bench.read::<i32>(buffer, 1028)?[1020..]));
        let at = cl!(cl, clEnqueueMapBuffer(queue, buffer, BLOCKING, 1, 4092, 16, 0, none, event, &mut status));
        bench.code("map to read", status);
        // SAFETY: 16 bytes are mapped.
        let seen = unsafe { std::slice::from_raw_parts(at.cast::<i32>(), 4) }.to_vec();
        bench.say("seen", listed(&seen));
        bench.code("unmap", cl!(cl, clEnqueueUnmapMemObject(queue, buffer, at, 0, none, event)));
        bench.code("unmap again", cl!(cl, clEnqueueUnmapMemObject(queue, buffer, at, 0, none, event)));
        let at = cl!(cl, clEnqueueMapBuffer(queue, buffer, BLOCKING, 1, 16384, 16, 0, none, event, &mut status));
        bench.say("outside", format!("{status}, {}", at.is_null()));
        bench.free(buffer)?;
    }
    Ok(())
}
