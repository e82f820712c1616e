//! Command queues.

use crate::answer::{Answer, Question};
use crate::arena::{self, Arena, Live, Object, Ref};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::device::Device;
use crate::generated::{INFO_QUEUE, Kind, kind, send};
use crate::pending;
use crate::properties;
use crate::status::{CL_INVALID_DEVICE, CL_INVALID_OPERATION, CL_INVALID_VALUE};
use crate::user::{In, Out, Raw};
use core::sync::atomic::{AtomicU64, Ordering};

const CL_QUEUE_CONTEXT: u32 = 0x1090;
const CL_QUEUE_DEVICE: u32 = 0x1091;
const CL_QUEUE_REFERENCE_COUNT: u32 = 0x1092;
const CL_QUEUE_PROPERTIES: u32 = 0x1093;
const CL_QUEUE_SIZE: u32 = 0x1094;
const CL_QUEUE_DEVICE_DEFAULT: u32 = 0x1095;
const CL_QUEUE_PROPERTIES_ARRAY: u32 = 0x1098;
const PROPERTY_BITS: u64 = 0x1093;
const PROPERTY_SIZE: u64 = 0x1094;
const PROPERTY_PRIORITY: u64 = 0x1096;
const PROPERTY_THROTTLE: u64 = 0x1097;

const OUT_OF_ORDER: u64 = 1;
const PROFILING: u64 = 2;
/// Out of order, profiling, on the device, the device's default.
const BITS: u64 = 0xf;

/// A command queue.
pub struct Queue {
    /// Its context.
    pub context: Ref<Context>,
    /// Its device.
    pub device: Ref<Device>,
    /// `CL_QUEUE_PROPERTIES`.
    bits: u64,
    /// The list as the program gave it.
    properties: Vec<u8>,
    /// Commands that have been sent.
    sent: AtomicU64,
    /// How many of them had been sent when the latest clFinish that has ended began.
    finished: AtomicU64,
}

static QUEUES: Arena<Queue> = Arena::new();

impl Object for Queue {
    const KIND: Kind = kind::cl_command_queue;

    fn arena() -> &'static Arena<Queue> {
        &QUEUES
    }

    fn release(this: &Live<Queue>, caller: &Caller) {
        let _ = send::clReleaseCommandQueue(caller, this.handle);
    }
}

impl Queue {
    /// A command has been sent: a clFinish that counts it comes after it in the ring.
    pub fn count(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    /// Commands end in the order in which they were enqueued.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.bits & OUT_OF_ORDER == 0
    }

    /// Events have profiles.
    #[must_use]
    pub fn has_profiles(&self) -> bool {
        self.bits & PROFILING != 0
    }
}

fn create(context: Raw, device: Raw, given: Option<Vec<[u64; 2]>>, old: bool) -> Result<Raw, cl_int> {
    let context = arena::get::<Context>(context)?;
    let device = arena::get::<Device>(device)?;
    if !context.has(&device) {
        return Err(CL_INVALID_DEVICE);
    }
    let pairs = given.as_deref().unwrap_or_default();
    let known = [PROPERTY_BITS, PROPERTY_SIZE, PROPERTY_PRIORITY, PROPERTY_THROTTLE];
    properties::check(pairs, &known, CL_INVALID_VALUE)?;
    let bits = properties::value(pairs, PROPERTY_BITS).unwrap_or(0);
    if bits & !if old { OUT_OF_ORDER | PROFILING } else { BITS } != 0 {
        return Err(CL_INVALID_VALUE);
    }
    let caller = caller::enter()?;
    let vacant = arena::vacant::<Queue>()?;
    let list = properties::encode(pairs);
    caller::answer(send::gpuferryQueue(&caller, vacant.handle, context.handle, device.handle, &list))?;
    let properties = if old { Vec::new() } else { properties::as_given(given.as_deref()) };
    Ok(vacant
        .fill(Queue { context, device, bits, properties, sent: AtomicU64::new(0), finished: AtomicU64::new(0) })
        .raw())
}

impl Live<Queue> {
    fn info(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        match param {
            CL_QUEUE_CONTEXT => to.object(self.context.raw()),
            CL_QUEUE_DEVICE => to.object(self.device.raw()),
            CL_QUEUE_REFERENCE_COUNT => to.number(arena::references(self)),
            CL_QUEUE_PROPERTIES => to.long(self.bits),
            CL_QUEUE_PROPERTIES_ARRAY => to.bytes(&self.properties),
            CL_QUEUE_DEVICE_DEFAULT => to.object(core::ptr::null_mut()),
            CL_QUEUE_SIZE => to.bytes(&Question::new(INFO_QUEUE, self.handle, CL_QUEUE_SIZE).ask(&caller::enter()?)?),
            _ => Err(CL_INVALID_VALUE),
        }
    }
}

crate::makers! {
    /// OpenCL 1.2, clCreateCommandQueue.
    extern "C" fn clCreateCommandQueue(context: Raw, device: Raw, properties: u64) {
        create(context, device, Some(vec![[PROPERTY_BITS, properties]]), true)
    }

    /// OpenCL 3.0 § 5.1, clCreateCommandQueueWithProperties.
    extern "C" fn clCreateCommandQueueWithProperties(context: Raw, device: Raw, properties: In<u64>) {
        create(context, device, properties.pairs()?, false)
    }
}

crate::calls! {
    /// OpenCL 3.0 § 5.1, clRetainCommandQueue.
    extern "C" fn clRetainCommandQueue(command_queue: Raw) {
        arena::retain::<Queue>(command_queue)
    }

    /// OpenCL 3.0 § 5.1, clReleaseCommandQueue.
    extern "C" fn clReleaseCommandQueue(command_queue: Raw) {
        arena::release::<Queue>(command_queue)
    }

    /// OpenCL 3.0 § 5.1, clGetCommandQueueInfo.
    extern "C" fn clGetCommandQueueInfo(
        command_queue: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let queue = arena::get::<Queue>(command_queue)?;
        queue.info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 1.0, clSetCommandQueueProperty: taken away by 1.1.
    extern "C" fn clSetCommandQueueProperty(command_queue: Raw, _properties: u64, _enable: u32, _old: Out<u64>) {
        arena::get::<Queue>(command_queue)?;
        Err(CL_INVALID_OPERATION)
    }

    /// OpenCL 3.0 § 5.15, clFlush.
    extern "C" fn clFlush(command_queue: Raw) {
        let queue = arena::get::<Queue>(command_queue)?;
        caller::answer(send::clFlush(&caller::enter()?, queue.handle))
    }

    /// OpenCL 3.0 § 5.15, clFinish.
    extern "C" fn clFinish(command_queue: Raw) {
        let queue = arena::get::<Queue>(command_queue)?;
        let caller = caller::enter()?;
        let sent = queue.sent.load(Ordering::Acquire);
        if queue.finished.load(Ordering::Acquire) >= sent {
            return caller::answer(caller.session.take_deferred());
        }
        let before = pending::of_queue(&queue);
        let status = send::clFinish(&caller, queue.handle);
        if status == 0 {
            before.iter().for_each(|event| event.end());
            queue.finished.fetch_max(sent, Ordering::AcqRel);
        }
        pending::settle(&caller);
        caller::answer(status)
    }
}
