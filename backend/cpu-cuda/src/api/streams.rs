//! Stream management, capture, and operations on memory in stream order.

use crate::capture;
use crate::context::{self, Context};
use crate::copy::side;
use crate::driver;
use crate::event::Event;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::graph::{Graph, GraphNode};
use crate::handle::Handle;
use crate::op::{Op, StreamCallback, WaitValue};
use crate::status::{Answer, Status};
use crate::stream::{self, ATTRIBUTE_BYTES, Stream};
use crate::types::{EdgeData, MemOp};
use crate::work::lock;

const CAPTURE_NONE: u32 = 0;
const CAPTURE_ACTIVE: u32 = 1;
const CAPTURE_INVALIDATED: u32 = 2;
const ATTRIBUTE_PRIORITY: u32 = 8;
pub(super) const MOST_MEM_OPS: u32 = 256;
/// CUstreamBatchMemOpType.
const OP_WAIT_32: u32 = 1;
const OP_WRITE_32: u32 = 2;
const OP_FLUSH: u32 = 3;
const OP_WAIT_64: u32 = 4;
const OP_WRITE_64: u32 = 5;
const OP_BARRIER: u32 = 6;

/// What cuStreamGetCaptureInfo tells.
struct Told {
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<Handle<Graph>>,
    nodes: Out<u64>,
    edges: Out<u64>,
    count: Out<u64>,
}

thread_local! {
    /// The node handles given out last: the program reads them until its next call on the stream.
    static GIVEN: std::cell::RefCell<Vec<Handle<GraphNode>>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn capture_info(stream: Handle<Stream>, told: Told) -> Answer {
    told.status.check()?;
    let stream = stream::resolve(stream)?;
    let Some(place) = lock(&stream.capture).clone() else {
        return told.status.set(CAPTURE_NONE);
    };
    told.status.set(if place.capture.is_spoilt() { CAPTURE_INVALIDATED } else { CAPTURE_ACTIVE })?;
    told.id.set_if_wanted(place.capture.id);
    told.graph.set_if_wanted(place.capture.graph.handle);
    let nodes = lock(&place.capture.graph.nodes);
    let handles: Vec<_> = place.after.iter().filter_map(|id| nodes.all.get(id).map(|node| node.handle)).collect();
    told.count.set_if_wanted(handles.len() as u64);
    told.edges.set_if_wanted(0);
    GIVEN.with_borrow_mut(|given| {
        *given = handles;
        told.nodes.set_if_wanted(given.as_ptr() as u64);
    });
    Ok(())
}

fn update_dependencies(stream: Handle<Stream>, nodes: In<Handle<GraphNode>>, count: u64, flags: u32) -> Answer {
    let stream = stream::resolve(stream)?;
    let count = usize::try_from(count).ok().filter(|n| *n < 1 << 20).ok_or(Status::INVALID_VALUE)?;
    let nodes = nodes.read_all(count)?;
    let mut slot = lock(&stream.capture);
    let place = slot.as_mut().ok_or(Status::ILLEGAL_STATE)?;
    let ids = place.capture.graph.ids(&nodes)?;
    match flags {
        0 => place.after.extend(ids),
        1 => place.after = ids,
        _ => return Err(Status::INVALID_VALUE),
    }
    place.after.sort_unstable();
    place.after.dedup();
    Ok(())
}

fn begin_capture(stream: Handle<Stream>, mode: u32) -> Answer {
    let stream = stream::resolve(stream)?;
    stream.context.check()?;
    if stream.is_legacy() {
        return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
    }
    let graph = Graph::create()?;
    let handle = graph.handle;
    capture::begin(&stream, graph, Vec::new(), mode).inspect_err(|_| {
        let _ = Graph::destroy(handle);
    })
}

/// One write of or wait for a value; none for what orders nothing here.
pub(super) fn mem_op(operation: u32, address: u64, value: u64, flags: u32) -> Answer<Option<Op>> {
    let size = if matches!(operation, OP_WAIT_64 | OP_WRITE_64) { 8u8 } else { 4 };
    if matches!(operation, OP_FLUSH | OP_BARRIER) {
        return Ok(None);
    }
    if !address.is_multiple_of(u64::from(size)) {
        return Err(Status::INVALID_VALUE);
    }
    side(address, u64::from(size))?;
    Ok(Some(match operation {
        OP_WAIT_32 | OP_WAIT_64 => Op::WaitValue(WaitValue { address, value, size, compare: flags & 3 }),
        OP_WRITE_32 | OP_WRITE_64 => Op::Write(address, value, size),
        _ => return Err(Status::INVALID_VALUE),
    }))
}

fn one_mem_op(stream: Handle<Stream>, operation: u32, address: u64, value: u64, flags: u32) -> Answer {
    let stream = stream::resolve(stream)?;
    mem_op(operation, address, value, flags)?.map_or(Ok(()), |op| stream.submit(op))
}

fn batch_mem_op(stream: Handle<Stream>, count: u32, list: In<MemOp>, flags: u32) -> Answer {
    let stream = stream::resolve(stream)?;
    if flags != 0 || count > MOST_MEM_OPS {
        return Err(Status::INVALID_VALUE);
    }
    let mut ops = Vec::new();
    for one in list.read_all(count as usize)? {
        ops.extend(mem_op(one.operation, one.address, one.value, one.flags)?);
    }
    ops.into_iter().try_for_each(|op| stream.submit(op))
}

cuda! {
    fn cuStreamCreate(out: Out<Handle<Stream>>, flags: u32) {
        out.check()?;
        out.set(Stream::create(context::usable()?, flags, 0)?)
    }

    fn cuStreamCreateWithPriority(out: Out<Handle<Stream>>, flags: u32, priority: i32) {
        out.check()?;
        out.set(Stream::create(context::usable()?, flags, priority)?)
    }

    fn cuStreamDestroy(stream: Handle<Stream>) {
        Stream::destroy(stream)
    }

    fn cuStreamDestroy_v2(stream: Handle<Stream>) {
        Stream::destroy(stream)
    }

    fn cuStreamGetPriority | cuStreamGetPriority_ptsz (stream: Handle<Stream>, priority: Out<i32>) {
        priority.set(stream::resolve(stream)?.priority)
    }

    fn cuStreamGetFlags | cuStreamGetFlags_ptsz (stream: Handle<Stream>, flags: Out<u32>) {
        flags.set(stream::resolve(stream)?.flags)
    }

    fn cuStreamGetId | cuStreamGetId_ptsz (stream: Handle<Stream>, id: Out<u64>) {
        id.set(stream::resolve(stream)?.id)
    }

    fn cuStreamGetDevice | cuStreamGetDevice_ptsz (stream: Handle<Stream>, device: Out<i32>) {
        device.set(stream::resolve(stream)?.context.device.into())
    }

    fn cuStreamGetCtx | cuStreamGetCtx_ptsz (stream: Handle<Stream>, context: Out<Handle<Context>>) {
        context.set(stream::resolve(stream)?.context.handle)
    }

    fn cuStreamGetCtx_v2 | cuStreamGetCtx_v2_ptsz (stream: Handle<Stream>, context: Out<Handle<Context>>, green: Out<u64>) {
        context.set_if_wanted(stream::resolve(stream)?.context.handle);
        green.set_if_wanted(0);
        Ok(())
    }

    fn cuStreamGetGreenCtx(stream: Handle<Stream>, green: Out<u64>) {
        stream::resolve(stream)?;
        green.set(0)
    }

    fn cuStreamWaitEvent | cuStreamWaitEvent_ptsz (stream: Handle<Stream>, event: Handle<Event>, flags: u32) {
        if flags > 1 {
            return Err(Status::INVALID_VALUE);
        }
        stream::resolve(stream)?.submit(Op::Wait(event.get()?))
    }

    fn cuStreamAddCallback | cuStreamAddCallback_ptsz (
        stream: Handle<Stream>, callback: Option<StreamCallback>, data: u64, flags: u32,
    ) {
        let callback = callback.ok_or(Status::INVALID_VALUE)?;
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        stream::resolve(stream)?.submit(Op::Callback(callback, stream.0, data))
    }

    fn cuStreamAttachMemAsync | cuStreamAttachMemAsync_ptsz (stream: Handle<Stream>, address: u64, _bytes: u64, flags: u32) {
        let stream = stream::resolve(stream)?;
        if !matches!(flags, 1 | 2 | 4) {
            return Err(Status::INVALID_VALUE);
        }
        driver::arena()?.find(address).ok_or(Status::INVALID_VALUE)?;
        // The host may use managed memory at any time, so that whom it is attached to makes no difference.
        stream.submit(Op::Empty)
    }

    fn cuStreamQuery | cuStreamQuery_ptsz (stream: Handle<Stream>) {
        stream::resolve(stream)?.query()
    }

    fn cuStreamSynchronize | cuStreamSynchronize_ptsz (stream: Handle<Stream>) {
        stream::resolve(stream)?.synchronize()
    }

    fn cuStreamCopyAttributes | cuStreamCopyAttributes_ptsz (to: Handle<Stream>, from: Handle<Stream>) {
        let (to, from) = (stream::resolve(to)?, stream::resolve(from)?);
        let copy = lock(&from.attributes).clone();
        *lock(&to.attributes) = copy;
        Ok(())
    }

    fn cuStreamGetAttribute | cuStreamGetAttribute_ptsz (stream: Handle<Stream>, number: u32, value: Out<[u8; ATTRIBUTE_BYTES]>) {
        let stream = stream::resolve(stream)?;
        let mut bytes = lock(&stream.attributes).get(&number).copied().unwrap_or([0; ATTRIBUTE_BYTES]);
        match number {
            1 | 3 | 9 | 10 => {}
            ATTRIBUTE_PRIORITY => bytes[..4].copy_from_slice(&stream.priority.to_le_bytes()),
            _ => return Err(Status::INVALID_VALUE),
        }
        value.set(bytes)
    }

    fn cuStreamSetAttribute | cuStreamSetAttribute_ptsz (stream: Handle<Stream>, number: u32, value: In<[u8; ATTRIBUTE_BYTES]>) {
        let stream = stream::resolve(stream)?;
        if !matches!(number, 1 | 3 | 9 | 10 | ATTRIBUTE_PRIORITY) {
            return Err(Status::INVALID_VALUE);
        }
        lock(&stream.attributes).insert(number, value.read()?);
        Ok(())
    }

    fn cuStreamBeginCapture | cuStreamBeginCapture_ptsz (stream: Handle<Stream>) {
        begin_capture(stream, 0)
    }

    fn cuStreamBeginCapture_v2 | cuStreamBeginCapture_v2_ptsz (stream: Handle<Stream>, mode: u32) {
        begin_capture(stream, mode)
    }

    fn cuStreamBeginCaptureToGraph | cuStreamBeginCaptureToGraph_ptsz (
        stream: Handle<Stream>, graph: Handle<Graph>, nodes: In<Handle<GraphNode>>, _edges: In<EdgeData>, count: u64, mode: u32,
    ) {
        let stream = stream::resolve(stream)?;
        let graph = graph.get()?;
        let count = usize::try_from(count).ok().filter(|n| *n < 1 << 20).ok_or(Status::INVALID_VALUE)?;
        let after = graph.ids(&nodes.read_all(count)?)?;
        capture::begin(&stream, graph, after, mode)
    }

    fn cuStreamEndCapture | cuStreamEndCapture_ptsz (stream: Handle<Stream>, graph: Out<Handle<Graph>>) {
        graph.check()?;
        graph.set(Handle::NULL)?;
        graph.set(capture::end(&stream::resolve(stream)?)?.handle)
    }

    fn cuStreamIsCapturing | cuStreamIsCapturing_ptsz (stream: Handle<Stream>, status: Out<u32>) {
        let nothing = Out(std::ptr::null_mut());
        let (id, nodes, edges, count) = (nothing, nothing, nothing, nothing);
        capture_info(stream, Told { status, id, graph: Out(std::ptr::null_mut()), nodes, edges, count })
    }

    fn cuStreamGetCaptureInfo | cuStreamGetCaptureInfo_ptsz (stream: Handle<Stream>, status: Out<u32>, id: Out<u64>) {
        let nothing = Out(std::ptr::null_mut());
        let (nodes, edges, count) = (nothing, nothing, nothing);
        capture_info(stream, Told { status, id, graph: Out(std::ptr::null_mut()), nodes, edges, count })
    }

    fn cuStreamGetCaptureInfo_v2 | cuStreamGetCaptureInfo_v2_ptsz (
        stream: Handle<Stream>, status: Out<u32>, id: Out<u64>, graph: Out<Handle<Graph>>, nodes: Out<u64>, count: Out<u64>,
    ) {
        capture_info(stream, Told { status, id, graph, nodes, edges: Out(std::ptr::null_mut()), count })
    }

    fn cuStreamGetCaptureInfo_v3 | cuStreamGetCaptureInfo_v3_ptsz (
        stream: Handle<Stream>, status: Out<u32>, id: Out<u64>, graph: Out<Handle<Graph>>, nodes: Out<u64>, edges: Out<u64>,
        count: Out<u64>,
    ) {
        capture_info(stream, Told { status, id, graph, nodes, edges, count })
    }

    fn cuStreamUpdateCaptureDependencies | cuStreamUpdateCaptureDependencies_ptsz (
        stream: Handle<Stream>, nodes: In<Handle<GraphNode>>, count: u64, flags: u32,
    ) {
        update_dependencies(stream, nodes, count, flags)
    }

    fn cuStreamUpdateCaptureDependencies_v2 | cuStreamUpdateCaptureDependencies_v2_ptsz (
        stream: Handle<Stream>, nodes: In<Handle<GraphNode>>, _edges: In<EdgeData>, count: u64, flags: u32,
    ) {
        update_dependencies(stream, nodes, count, flags)
    }

    fn cuThreadExchangeStreamCaptureMode(mode: Out<u32>) {
        mode.set(capture::exchange_mode(mode.read()?)?)
    }

    fn cuStreamWaitValue32 | cuStreamWaitValue32_ptsz (stream: Handle<Stream>, address: u64, value: u32, flags: u32) {
        one_mem_op(stream, OP_WAIT_32, address, u64::from(value), flags)
    }

    fn cuStreamWaitValue32_v2 | cuStreamWaitValue32_v2_ptsz (stream: Handle<Stream>, address: u64, value: u32, flags: u32) {
        one_mem_op(stream, OP_WAIT_32, address, u64::from(value), flags)
    }

    fn cuStreamWaitValue64 | cuStreamWaitValue64_ptsz (stream: Handle<Stream>, address: u64, value: u64, flags: u32) {
        one_mem_op(stream, OP_WAIT_64, address, value, flags)
    }

    fn cuStreamWaitValue64_v2 | cuStreamWaitValue64_v2_ptsz (stream: Handle<Stream>, address: u64, value: u64, flags: u32) {
        one_mem_op(stream, OP_WAIT_64, address, value, flags)
    }

    fn cuStreamWriteValue32 | cuStreamWriteValue32_ptsz (stream: Handle<Stream>, address: u64, value: u32, flags: u32) {
        one_mem_op(stream, OP_WRITE_32, address, u64::from(value), flags)
    }

    fn cuStreamWriteValue32_v2 | cuStreamWriteValue32_v2_ptsz (stream: Handle<Stream>, address: u64, value: u32, flags: u32) {
        one_mem_op(stream, OP_WRITE_32, address, u64::from(value), flags)
    }

    fn cuStreamWriteValue64 | cuStreamWriteValue64_ptsz (stream: Handle<Stream>, address: u64, value: u64, flags: u32) {
        one_mem_op(stream, OP_WRITE_64, address, value, flags)
    }

    fn cuStreamWriteValue64_v2 | cuStreamWriteValue64_v2_ptsz (stream: Handle<Stream>, address: u64, value: u64, flags: u32) {
        one_mem_op(stream, OP_WRITE_64, address, value, flags)
    }

    fn cuStreamBatchMemOp | cuStreamBatchMemOp_ptsz (stream: Handle<Stream>, count: u32, list: In<MemOp>, flags: u32) {
        batch_mem_op(stream, count, list, flags)
    }

    fn cuStreamBatchMemOp_v2 | cuStreamBatchMemOp_v2_ptsz (stream: Handle<Stream>, count: u32, list: In<MemOp>, flags: u32) {
        batch_mem_op(stream, count, list, flags)
    }
}
