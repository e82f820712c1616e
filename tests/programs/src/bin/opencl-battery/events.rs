//! Events: states, user events, order, profiles and functions that are called.

use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use programs::opencl::{BLOCKING, Object, Status};
use programs::{cl, make_cl, must_cl};

use crate::bench::{Bench, listed};

/// `CL_EVENT_COMMAND_EXECUTION_STATUS`.
const STATE: u32 = 0x11D3;

fn state(bench: &Bench, event: Object) -> Status {
    let mut state = 99;
    let to = (&raw mut state).cast();
    cl!(bench.opencl(), clGetEventInfo(event, STATE, 4, to, std::ptr::null_mut()));
    state
}

/// User events, wait lists and profiles.
pub fn events(bench: &Bench) -> Result<(), String> {
    let (cl, context) = (bench.opencl(), bench.start.context);
    let out_of_order = make_cl!(cl, clCreateCommandQueue(context, bench.start.device, 3))?;
    let buffer = bench.buffer(&[0; 4])?;
    let gate = make_cl!(cl, clCreateUserEvent(context))?;
    bench.code("gate", state(bench, gate));
    let write = |number: &i32, waits: &[Object]| {
        let mut event = 0;
        let (data, list) = (std::ptr::from_ref(number).cast(), waits.as_ptr());
        let list = if waits.is_empty() { std::ptr::null() } else { list };
        let queue = out_of_order;
        must_cl!(cl, clEnqueueWriteBuffer(queue, buffer, 0, 0, 4, data, waits.len() as u32, list, &mut event))?;
        Ok::<Object, String>(event)
    };
    let (one, two, three) = (1, 2, 3);
    let first = write(&one, &[gate])?;
    let second = write(&two, &[first])?;
    let third = write(&three, &[second])?;
    must_cl!(cl, clFlush(out_of_order))?;
    std::thread::sleep(Duration::from_millis(20));
    bench.say("waiting", listed(&[first, second, third].map(|event| state(bench, event) > 1)));
    bench.code("open", cl!(cl, clSetUserEventStatus(gate, 0)));
    bench.code("open again", cl!(cl, clSetUserEventStatus(gate, 0)));
    must_cl!(cl, clWaitForEvents(1, &third))?;
    bench.say("done", listed(&[first, second, third].map(|event| state(bench, event))));
    bench.say("value", listed(&bench.read::<i32>(buffer, 1)?));
    let times = [0x1280, 0x1281, 0x1282, 0x1283].map(|param| {
        let mut time = 0u64;
        let to = (&raw mut time).cast();
        (cl!(cl, clGetEventProfilingInfo(third, param, 8, to, std::ptr::null_mut())), time)
    });
    bench.say("profile", listed(&times.map(|(status, _)| status)));
    bench.say("in order", times.is_sorted_by_key(|(_, time)| *time));
    let fails = make_cl!(cl, clCreateUserEvent(context))?;
    let never = write(&one, &[fails])?;
    bench.code("fail", cl!(cl, clSetUserEventStatus(fails, -7)));
    bench.code("a wait for what fails", cl!(cl, clWaitForEvents(1, &never)));
    bench.say("failed", state(bench, never) < 0);
    bench.code("state of no event", cl!(cl, clWaitForEvents(0, std::ptr::null())));
    for event in [gate, first, second, third, fails, never] {
        must_cl!(cl, clReleaseEvent(event))?;
    }
    marker(bench)?;
    polls(bench)?;
    must_cl!(cl, clReleaseCommandQueue(out_of_order))?;
    bench.free(buffer)
}

/// A marker that waits for a thread of the program while another waits for the marker.
fn marker(bench: &Bench) -> Result<(), String> {
    let cl = bench.opencl();
    let gate = make_cl!(cl, clCreateUserEvent(bench.start.context))?;
    let mut marker = 0;
    must_cl!(cl, clEnqueueMarkerWithWaitList(bench.start.queue, 1, &gate, &mut marker))?;
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| cl!(cl, clWaitForEvents(1, &marker)));
        let finishes = threads.spawn(|| cl!(cl, clFinish(bench.start.queue)));
        std::thread::sleep(Duration::from_millis(20));
        bench.code("opened by another thread", cl!(cl, clSetUserEventStatus(gate, 0)));
        bench.say("both return", format!("{:?} {:?}", waits.join().ok(), finishes.join().ok()));
    });
    must_cl!(cl, clReleaseEvent(marker))?;
    must_cl!(cl, clReleaseEvent(gate))
}

/// A program that asks for the state of a command again and again, before its end and after.
fn polls(bench: &Bench) -> Result<(), String> {
    let cl = bench.opencl();
    let gate = make_cl!(cl, clCreateUserEvent(bench.start.context))?;
    let mut marker = 0;
    must_cl!(cl, clEnqueueMarkerWithWaitList(bench.start.queue, 1, &gate, &mut marker))?;
    must_cl!(cl, clFlush(bench.start.queue))?;
    bench.say("asked 2000 times, it waits", (0..2000).all(|_| state(bench, marker) > 0));
    bench.code("opened", cl!(cl, clSetUserEventStatus(gate, 0)));
    bench.say("asked until it ends", until(|| state(bench, marker) == 0));
    bench.say("asked 2000 times, it has ended", (0..2000).all(|_| state(bench, marker) == 0));
    must_cl!(cl, clReleaseEvent(marker))?;
    must_cl!(cl, clReleaseEvent(gate))
}

/// What was called, in order.
static CALLED: Mutex<Vec<(usize, Status)>> = Mutex::new(Vec::new());
static DESTROYED: AtomicU32 = AtomicU32::new(0);

extern "C" fn reached(_event: Object, state: Status, data: *mut c_void) {
    CALLED.lock().expect("the list").push((data.addr(), state));
}

extern "C" fn destroyed(_memory: Object, data: *mut c_void) {
    // Digits in the order of the calls.
    let digit = data.addr() as u32;
    let _ = DESTROYED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |digits| Some(digits * 10 + digit));
}

fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// A function for the event of a command is called although the program has given up event and queue.
fn given_up(bench: &Bench, buffer: Object) -> Result<(), String> {
    let (cl, context) = (bench.opencl(), bench.start.context);
    let queue = make_cl!(cl, clCreateCommandQueue(context, bench.start.device, 0))?;
    let gate = make_cl!(cl, clCreateUserEvent(context))?;
    let mut event = 0;
    let zero = [0u32; 1];
    must_cl!(cl, clEnqueueFillBuffer(queue, buffer, zero.as_ptr().cast(), 4, 0, 4, 1, &gate, &mut event))?;
    must_cl!(cl, clSetEventCallback(event, 0, reached, std::ptr::without_provenance_mut(4)))?;
    must_cl!(cl, clFlush(queue))?;
    must_cl!(cl, clReleaseEvent(event))?;
    must_cl!(cl, clReleaseCommandQueue(queue))?;
    must_cl!(cl, clSetUserEventStatus(gate, 0))?;
    must_cl!(cl, clReleaseEvent(gate))?;
    let is_called = || CALLED.lock().expect("the list").contains(&(4, 0));
    bench.say("called though event and queue were given up", until(is_called));
    Ok(())
}

/// Functions of the program that the library calls.
pub fn callbacks(bench: &Bench) -> Result<(), String> {
    let (cl, queue) = (bench.opencl(), bench.start.queue);
    let buffer = bench.buffer(&[1, 2, 3, 4])?;
    for digit in 1..=3 {
        let data = std::ptr::without_provenance_mut(digit);
        must_cl!(cl, clSetMemObjectDestructorCallback(buffer, destroyed, data))?;
    }
    let gate = make_cl!(cl, clCreateUserEvent(bench.start.context))?;
    let (mut back, mut event) = ([0i32; 4], 0);
    let to = back.as_mut_ptr().cast();
    must_cl!(cl, clEnqueueReadBuffer(queue, buffer, 0, 0, 16, to, 1, &gate, &mut event))?;
    for (number, at) in [(1usize, 0), (2, 0), (3, 1)] {
        let data = std::ptr::without_provenance_mut(number);
        bench.code("set", cl!(cl, clSetEventCallback(event, at, reached, data)));
    }
    bench.code("at no state", cl!(cl, clSetEventCallback(event, 9, reached, std::ptr::null_mut())));
    must_cl!(cl, clFlush(queue))?;
    must_cl!(cl, clSetUserEventStatus(gate, 0))?;
    bench.say("all are called", until(|| CALLED.lock().expect("the list").len() == 3));
    let mut called = CALLED.lock().expect("the list").clone();
    called.sort_unstable();
    bench.say("with", format!("{called:?}"));
    bench.say("data is there", listed(&back));
    must_cl!(cl, clReleaseEvent(event))?;
    must_cl!(cl, clReleaseEvent(gate))?;
    given_up(bench, buffer)?;
    let mut again = [0i32; 4];
    let to = again.as_mut_ptr().cast();
    let none = std::ptr::null();
    must_cl!(cl, clEnqueueReadBuffer(queue, buffer, BLOCKING, 0, 16, to, 0, none, std::ptr::null_mut()))?;
    bench.free(buffer)?;
    bench.say("destroyed", until(|| DESTROYED.load(Ordering::Relaxed) > 99));
    bench.say("in the order", DESTROYED.load(Ordering::Relaxed));
    Ok(())
}
