//! Contexts.

use crate::answer::{Answer, Question};
use crate::arena::{self, Arena, Live, Object, Ref};
use crate::callback::{self, ContextNotify};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::device::{self, Device};
use crate::generated::{INFO_IMAGE_FORMATS, Kind, kind, send};
use crate::platform;
use crate::properties;
use crate::status::{CL_INVALID_OPERATION, CL_INVALID_PROPERTY, CL_INVALID_VALUE};
use crate::user::{In, Out, Raw};
use core::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};
use wire::handle::Handle;

const CL_CONTEXT_REFERENCE_COUNT: u32 = 0x1080;
const CL_CONTEXT_DEVICES: u32 = 0x1081;
const CL_CONTEXT_PROPERTIES: u32 = 0x1082;
const CL_CONTEXT_NUM_DEVICES: u32 = 0x1083;
const CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES: u32 = 0x1070;
const PROPERTY_PLATFORM: u64 = 0x1084;
const PROPERTY_INTEROP_USER_SYNC: u64 = 0x1085;
const PROPERTY_MEMORY_INITIALIZE: u64 = 0x2030;

/// `clSetContextDestructorCallback`'s function.
type Destructor = unsafe extern "C" fn(Raw, *mut c_void);

/// A context.
pub struct Context {
    /// Its devices, in the program's order.
    pub devices: Vec<Ref<Device>>,
    /// The list as the program gave it.
    properties: Vec<u8>,
    notify: u64,
    destructors: Mutex<Vec<(Destructor, usize)>>,
}

static CONTEXTS: Arena<Context> = Arena::new();

impl Object for Context {
    const KIND: Kind = kind::cl_context;

    fn arena() -> &'static Arena<Context> {
        &CONTEXTS
    }

    fn release(this: &Live<Context>, caller: &Caller) {
        let functions = std::mem::take(&mut *this.destructors.lock().unwrap_or_else(PoisonError::into_inner));
        for (function, data) in functions.into_iter().rev() {
            // SAFETY: the program gave function and data for this call; no lock is held.
            unsafe { function(this.raw(), data as *mut c_void) };
        }
        let _ = send::clReleaseContext(caller, this.handle);
        callback::forget_context(this.notify);
    }
}

impl Context {
    /// Whether a device is among its own.
    #[must_use]
    pub fn has(&self, device: &Ref<Device>) -> bool {
        self.devices.iter().any(|own| Arc::ptr_eq(own, device))
    }

    /// A property of all devices that is a number, for checks that must hold on one of them at least.
    ///
    /// # Errors
    /// The host's answer.
    pub fn most(&self, caller: &Caller, param: u32) -> Result<u64, cl_int> {
        self.devices.iter().map(|device| device.long(caller, param)).try_fold(0, |most, own| Ok(own?.max(most)))
    }
}

/// Checks properties; the list without the platform.
fn checked(pairs: &[[u64; 2]]) -> Result<Vec<[u64; 2]>, cl_int> {
    let known = [PROPERTY_PLATFORM, PROPERTY_INTEROP_USER_SYNC, PROPERTY_MEMORY_INITIALIZE];
    properties::check(pairs, &known, CL_INVALID_PROPERTY)?;
    if let Some(value) = properties::value(pairs, PROPERTY_PLATFORM) {
        platform::check(value as usize as Raw)?;
    }
    if properties::value(pairs, PROPERTY_INTEROP_USER_SYNC).is_some_and(|value| value > 1) {
        return Err(CL_INVALID_PROPERTY);
    }
    Ok(pairs.iter().copied().filter(|[name, _]| *name != PROPERTY_PLATFORM).collect())
}

fn create(
    given: Option<Vec<[u64; 2]>>,
    devices: Vec<Ref<Device>>,
    function: Option<ContextNotify>,
    data: *mut c_void,
) -> Result<Raw, cl_int> {
    let others = checked(given.as_deref().unwrap_or_default())?;
    if function.is_none() && !data.is_null() {
        return Err(CL_INVALID_VALUE);
    }
    let caller = caller::enter()?;
    let vacant = arena::vacant::<Context>()?;
    let notify = match function {
        Some(function) => callback::add_context(&caller, function, data)?,
        None => 0,
    };
    let handles: Vec<Handle> = devices.iter().map(|device| device.handle).collect();
    let sent = send::gpuferryContext(&caller, vacant.handle, &properties::encode(&others), &handles, notify);
    if let Err(status) = caller::answer(sent) {
        callback::forget_context(notify);
        return Err(status);
    }
    let properties = properties::as_given(given.as_deref());
    Ok(vacant.fill(Context { devices, properties, notify, destructors: Mutex::default() }).raw())
}

impl Live<Context> {
    fn info(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        match param {
            CL_CONTEXT_REFERENCE_COUNT => to.number(arena::references(self)),
            CL_CONTEXT_DEVICES => to.objects(self.devices.iter().map(|device| device.raw())),
            CL_CONTEXT_PROPERTIES => to.bytes(&self.properties),
            CL_CONTEXT_NUM_DEVICES => to.number(self.devices.len() as u32),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    /// The image formats of flags and a type, 8 bytes each.
    pub(crate) fn formats(&self, flags: u64, image_type: u32) -> Result<Vec<u8>, cl_int> {
        let input = [&flags.to_ne_bytes()[..], &image_type.to_ne_bytes()[..]].concat();
        let question = Question { input: &input, ..Question::new(INFO_IMAGE_FORMATS, self.handle, 0) };
        question.ask(&caller::enter()?)
    }
}

crate::makers! {
    /// OpenCL 3.0 § 4.4, clCreateContext.
    extern "C" fn clCreateContext(
        properties: In<u64>, num_devices: u32, devices: In<Raw>, pfn_notify: Option<ContextNotify>, user_data: *mut c_void,
    ) {
        let pairs = properties.pairs()?;
        if num_devices == 0 || devices.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        create(pairs, device::list(&devices.list(num_devices as usize))?, pfn_notify, user_data)
    }

    /// OpenCL 3.0 § 4.4, clCreateContextFromType.
    extern "C" fn clCreateContextFromType(
        properties: In<u64>, device_type: u64, pfn_notify: Option<ContextNotify>, user_data: *mut c_void,
    ) {
        let pairs = properties.pairs()?;
        checked(pairs.as_deref().unwrap_or_default())?;
        create(pairs, platform::devices_of(device_type)?, pfn_notify, user_data)
    }
}

crate::calls! {
    /// OpenCL 3.0 § 4.4, clRetainContext.
    extern "C" fn clRetainContext(context: Raw) {
        arena::retain::<Context>(context)
    }

    /// OpenCL 3.0 § 4.4, clReleaseContext.
    extern "C" fn clReleaseContext(context: Raw) {
        arena::release::<Context>(context)
    }

    /// OpenCL 3.0 § 4.4, clGetContextInfo.
    extern "C" fn clGetContextInfo(
        context: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let context = arena::get::<Context>(context)?;
        context.info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }

    /// OpenCL 3.0 § 4.4, clSetContextDestructorCallback.
    extern "C" fn clSetContextDestructorCallback(
        context: Raw, pfn_notify: Option<Destructor>, user_data: *mut c_void,
    ) {
        let context = arena::get::<Context>(context)?;
        let function = pfn_notify.ok_or(CL_INVALID_VALUE)?;
        context.destructors.lock().unwrap_or_else(PoisonError::into_inner).push((function, user_data as usize));
        Ok(())
    }

    /// OpenCL 3.0 § 5.3.2, clGetSupportedImageFormats.
    extern "C" fn clGetSupportedImageFormats(
        context: Raw, flags: u64, image_type: u32, num_entries: u32, image_formats: Out<u64>, num_image_formats: Out<u32>,
    ) {
        let context = arena::get::<Context>(context)?;
        if num_entries == 0 && image_formats.is_wanted() {
            return Err(CL_INVALID_VALUE);
        }
        let found = context.formats(flags, image_type)?;
        num_image_formats.set((found.len() / 8) as u32);
        for (at, format) in crate::answer::longs(&found).take(num_entries as usize).enumerate() {
            image_formats.at(at).set(format);
        }
        Ok(())
    }

    /// OpenCL 3.0 § 5.1, clSetDefaultDeviceCommandQueue.
    extern "C" fn clSetDefaultDeviceCommandQueue(context: Raw, device: Raw, command_queue: Raw) {
        let context = arena::get::<Context>(context)?;
        let device = arena::get::<Device>(device)?;
        let caller = caller::enter()?;
        // A device of 2.x, which has no such property, has such queues.
        if device.long(&caller, CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES) == Ok(0) {
            return Err(CL_INVALID_OPERATION);
        }
        let queue = arena::get::<crate::queue::Queue>(command_queue)?;
        caller::answer(send::clSetDefaultDeviceCommandQueue(&caller, context.handle, device.handle, queue.handle))
    }
}
