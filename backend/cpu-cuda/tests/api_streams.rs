//! Streams and events through the exported functions: what waits for what.

// Every call is one export, with handles and memory that the test owns.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::*;
use cpu_cuda::api::contexts::*;
use cpu_cuda::api::copies::*;
use cpu_cuda::api::events::*;
use cpu_cuda::api::execution::*;
use cpu_cuda::api::modules::*;
use cpu_cuda::api::streams::*;
use cpu_cuda::api::textures::*;
use cpu_cuda::event::Event;
use cpu_cuda::foreign::In;
use cpu_cuda::handle::Handle;
use cpu_cuda::status::Status;
use cpu_cuda::stream::Stream;
use cpu_cuda::types::{ResourceDescriptor, TextureDescriptor};

/// What host functions of a test note, in the order in which they ran.
struct Notes(Mutex<Vec<u32>>);

/// A note that is written after a while.
struct Note<'a> {
    notes: &'a Notes,
    number: u32,
    after: Duration,
}

unsafe extern "C" fn write_note(note: u64) {
    // SAFETY: the test keeps the note until its stream is idle.
    let note = unsafe { &*(note as *const Note<'_>) };
    std::thread::sleep(note.after);
    note.notes.0.lock().expect("not poisoned").push(note.number);
}

impl Notes {
    fn new() -> Notes {
        Notes(Mutex::new(Vec::new()))
    }

    fn note(&self, number: u32, milliseconds: u64) -> Note<'_> {
        Note { notes: self, number, after: Duration::from_millis(milliseconds) }
    }

    fn read(&self) -> Vec<u32> {
        self.0.lock().expect("not poisoned").clone()
    }
}

fn put(stream: Handle<Stream>, note: &Note<'_>) {
    ok(unsafe { cuLaunchHostFunc(stream, Some(write_note), std::ptr::from_ref(note) as u64) });
}

fn event(flags: u32) -> Handle<Event> {
    made(|out| unsafe { cuEventCreate(out, flags) })
}

const LEGACY: Handle<Stream> = Handle::NULL;

#[test]
fn legacy_stream_when_blocking_stream_busy_then_waits_and_is_waited_for() {
    let _context = context();
    let notes = Notes::new();
    let (a, b) = (stream(0), stream(0));
    let all = [notes.note(1, 30), notes.note(2, 10), notes.note(3, 0)];
    put(a, &all[0]);
    put(LEGACY, &all[1]);
    put(b, &all[2]);
    ok(unsafe { cuCtxSynchronize() });
    assert_eq!(notes.read(), [1, 2, 3]);
}

#[test]
fn legacy_stream_when_other_is_non_blocking_then_does_not_wait() {
    let _context = context();
    let notes = Notes::new();
    let apart = stream(1);
    let all = [notes.note(1, 50), notes.note(2, 0)];
    put(apart, &all[0]);
    put(LEGACY, &all[1]);
    ok(unsafe { cuStreamSynchronize(LEGACY) });
    assert_eq!(notes.read(), [2]);
    assert_eq!(unsafe { cuStreamQuery(apart) }, Status::NOT_READY.0);
    ok(unsafe { cuStreamSynchronize(apart) });
    assert_eq!(notes.read(), [2, 1]);
}

#[test]
fn own_default_stream_when_used_then_differs_from_legacy() {
    let _context = context();
    let id = |own: bool| {
        made(|out| unsafe { if own { cuStreamGetId_ptsz(LEGACY, out) } else { cuStreamGetId(LEGACY, out) } })
    };
    assert_ne!(id(true), id(false));
    assert_eq!(id(true), made(|out| unsafe { cuStreamGetId(Handle::from_raw(2), out) }));
    assert_eq!(id(false), made(|out| unsafe { cuStreamGetId_ptsz(Handle::from_raw(1), out) }));
}

#[test]
fn wait_event_when_recorded_elsewhere_then_order_follows() {
    let _context = context();
    let notes = Notes::new();
    let (a, b) = (stream(1), stream(1));
    let mark = event(0);
    let all = [notes.note(1, 30), notes.note(2, 0)];
    put(a, &all[0]);
    ok(unsafe { cuEventRecord(mark, a) });
    assert_eq!(unsafe { cuEventQuery(mark) }, Status::NOT_READY.0);
    ok(unsafe { cuStreamWaitEvent(b, mark, 0) });
    put(b, &all[1]);
    ok(unsafe { cuStreamSynchronize(b) });
    assert_eq!(notes.read(), [1, 2]);
    ok(unsafe { cuEventQuery(mark) });
}

#[test]
fn elapsed_time_when_work_between_then_about_as_long() {
    let _context = context();
    let notes = Notes::new();
    let stream = stream(0);
    let (start, end) = (event(0), event(0));
    let note = notes.note(1, 20);
    ok(unsafe { cuEventRecord(start, stream) });
    put(stream, &note);
    ok(unsafe { cuEventRecord(end, stream) });
    ok(unsafe { cuEventSynchronize(end) });
    let time = made(|out| unsafe { cuEventElapsedTime(out, start, end) });
    assert!((20.0..2000.0).contains(&time), "{time} ms");
    let untimed = event(2);
    ok(unsafe { cuEventRecord(untimed, stream) });
    assert_eq!(
        unsafe { cuEventElapsedTime(cpu_cuda::foreign::Out(&mut 0.0), start, untimed) },
        Status::INVALID_HANDLE.0
    );
}

#[test]
fn destroyed_stream_when_work_left_then_work_still_runs() {
    let _context = context();
    let notes = Notes::new();
    let stream = stream(0);
    let note = notes.note(1, 20);
    put(stream, &note);
    ok(unsafe { cuStreamDestroy_v2(stream) });
    assert_eq!(unsafe { cuStreamQuery(stream) }, Status::INVALID_CONTEXT.0);
    ok(unsafe { cuCtxSynchronize() });
    assert_eq!(notes.read(), [1]);
}

unsafe extern "C" fn told(stream: u64, status: u32, data: u64) {
    // SAFETY: the test keeps the cell until its stream is idle.
    let cell = unsafe { &*(data as *const AtomicU32) };
    cell.store(u32::from(stream != 0) + 2 * status, Ordering::Release);
}

#[test]
fn callback_when_stream_is_fine_then_told_success_and_stream() {
    let _context = context();
    let stream = stream(0);
    let cell = AtomicU32::new(99);
    ok(unsafe { cuStreamAddCallback(stream, Some(told), std::ptr::from_ref(&cell) as u64, 0) });
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!(cell.load(Ordering::Acquire), 1);
    assert_eq!(unsafe { cuStreamAddCallback(stream, None, 0, 0) }, Status::INVALID_VALUE.0);
}

#[test]
fn wait_value_when_other_stream_writes_then_released() {
    let _context = context();
    let notes = Notes::new();
    let (a, b) = (stream(1), stream(1));
    let cell = alloc(8);
    ok(unsafe { cpu_cuda::api::fills::cuMemsetD32_v2(cell, 0, 2) });
    ok(unsafe { cuCtxSynchronize() });
    let all = [notes.note(1, 20), notes.note(2, 0)];
    ok(unsafe { cuStreamWaitValue32_v2(b, cell, 5, 0) });
    put(b, &all[1]);
    put(a, &all[0]);
    ok(unsafe { cuStreamWriteValue32_v2(a, cell, 6, 0) });
    ok(unsafe { cuCtxSynchronize() });
    assert_eq!(notes.read(), [1, 2]);
}

#[test]
fn streams_when_many_threads_submit_then_each_keeps_its_order() {
    let context = context();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                ok(unsafe { cuCtxSetCurrent(context.0) });
                let notes = Notes::new();
                let stream = stream(1);
                let all: Vec<_> = (0..100).map(|number| notes.note(number, 0)).collect();
                all.iter().for_each(|note| put(stream, note));
                ok(unsafe { cuStreamSynchronize(stream) });
                assert_eq!(notes.read(), (0..100).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn handles_when_wild_or_of_another_kind_then_invalid_handle() {
    let _context = context();
    let mark = event(0);
    for wild in [3, 0xdead_beef, u64::MAX, mark.0] {
        assert_eq!(unsafe { cuStreamSynchronize(Handle::from_raw(wild)) }, Status::INVALID_HANDLE.0);
        assert_eq!(unsafe { cuEventRecord(mark, Handle::from_raw(wild)) }, Status::INVALID_HANDLE.0);
    }
    assert_eq!(unsafe { cuEventQuery(Handle::from_raw(stream(0).0)) }, Status::INVALID_HANDLE.0);
    assert_eq!(unsafe { cuCtxSetCurrent(Handle::from_raw(mark.0)) }, Status::INVALID_CONTEXT.0);
}

#[test]
fn context_when_none_current_then_invalid_context() {
    init();
    std::thread::spawn(|| {
        assert_eq!(unsafe { cuStreamSynchronize(LEGACY) }, Status::INVALID_CONTEXT.0);
        assert_eq!(unsafe { cuCtxSynchronize() }, Status::INVALID_CONTEXT.0);
    })
    .join()
    .expect("thread");
}

#[test]
fn context_stack_when_pushed_and_popped_then_nested() {
    let outer = context();
    let inner = context();
    let current = || made(|out| unsafe { cuCtxGetCurrent(out) });
    assert_eq!(current(), inner.0);
    assert_eq!(made(|out| unsafe { cuCtxPopCurrent_v2(out) }), inner.0);
    assert_eq!(current(), outer.0);
    ok(unsafe { cuCtxPushCurrent_v2(inner.0) });
    assert_eq!(current(), inner.0);
    drop(inner);
    assert_eq!(current(), outer.0);
}

#[test]
fn primary_context_when_retained_and_released_then_same_handle() {
    init();
    let first = made(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) });
    ok(unsafe { cuDevicePrimaryCtxRelease_v2(0) });
    assert_eq!(made(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) }), first);
    ok(unsafe { cuDevicePrimaryCtxRelease_v2(0) });
    assert_eq!(unsafe { cuDevicePrimaryCtxRelease_v2(0) }, Status::INVALID_CONTEXT.0);
    assert_eq!(unsafe { cuCtxDestroy_v2(first) }, Status::INVALID_CONTEXT.0);
}

const FETCH: &std::ffi::CStr = c"
.version 6.4
.target sm_50
.address_size 64
.visible .entry fetch(.param .u64 texture, .param .u64 to)
{
    .reg .b32 %r<5>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [texture];
    ld.param.u64 %rd2, [to];
    mov.u32 %r0, 1;
    tex.1d.v4.u32.s32 {%r1, %r2, %r3, %r4}, [%rd1, {%r0}];
    st.global.u32 [%rd2], %r1;
    ret;
}
";

#[test]
fn texture_when_destroyed_after_the_launch_then_the_kernel_still_reads_it() {
    let _context = context();
    let (texels, to, stream) = (alloc(8), alloc(4), stream(1));
    let colours = [5u32, 6];
    ok(unsafe { cuMemcpyHtoD_v2(texels, colours.as_ptr() as u64, 8) });
    let mut resource = ResourceDescriptor { kind: 2, ..Default::default() };
    // Linear memory of one unsigned 32-bit channel.
    resource.words[..3].copy_from_slice(&[texels, 3 | 1 << 32, 8]);
    let sampler = TextureDescriptor { flags: 1, ..Default::default() };
    let texture = made(|out| unsafe { cuTexObjectCreate(out, In(&resource), In(&sampler), In(std::ptr::null())) });
    let module = made(|out| unsafe { cuModuleLoadData(out, FETCH.as_ptr() as u64) });
    let fetch = function(module, "fetch");

    let notes = Notes::new();
    let busy = notes.note(1, 30);
    put(stream, &busy);
    let params = [&raw const texture as u64, &raw const to as u64];
    ok(unsafe { cuLaunchKernel(fetch.0, 1, 1, 1, 1, 1, 1, 0, stream, In(params.as_ptr()), In(std::ptr::null())) });
    ok(unsafe { cuTexObjectDestroy(texture) });
    assert_eq!(unsafe { cuTexObjectDestroy(texture) }, Status::INVALID_HANDLE.0);
    ok(unsafe { cuStreamSynchronize(stream) });

    let mut found = 0u32;
    ok(unsafe { cuMemcpyDtoH_v2((&raw mut found) as u64, to, 4) });
    assert_eq!(found, 6);
}
