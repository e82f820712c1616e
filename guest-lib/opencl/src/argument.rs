//! Arguments of kernels. They are kept here and travel with the launch, once the host has accepted one of the same class: whatever
//! is new to an argument is put to the host at once, so that its refusal comes from the call that earned it.
//!
//! An argument does not keep its object: a program may give a buffer up that is still some kernel's argument.

use crate::arena::{Live, Object, Ref};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::generated::{
    ARG_BYTES, ARG_HANDLE, ARG_NULL, ARG_SVM, INFO_KERNEL_ARG, SHAPE_LOCAL, SHAPE_MEMORY, SHAPE_OBJECT, SHAPE_UNKNOWN,
    SHAPE_VALUE, send,
};
use crate::kernel::Kernel;
use crate::memory::Mem;
use crate::queue::Queue;
use crate::sampler::Sampler;
use crate::status::{
    CL_INVALID_ARG_INDEX, CL_INVALID_ARG_SIZE, CL_INVALID_ARG_VALUE, CL_INVALID_KERNEL_ARGS, CL_INVALID_MEM_OBJECT,
    CL_INVALID_SAMPLER,
};
use crate::user::{self, Raw};
use core::ffi::c_void;
use std::sync::{Arc, Weak};
use wire::handle::Handle;

const CL_KERNEL_ARG_TYPE_NAME: u32 = 0x1198;
/// Longest value that is looked at: more than any device takes in all arguments.
const MOST_BYTES: usize = 64 << 10;
const POINTER_BYTES: usize = size_of::<Raw>();

/// An object of an argument, as long as it lives.
#[derive(Clone)]
enum Given {
    Mem(Weak<Live<Mem>>),
    Sampler(Weak<Live<Sampler>>),
    Queue(Weak<Live<Queue>>),
}

impl Given {
    fn find(raw: Raw) -> Option<(Given, Class, Ref<Context>)> {
        if let Some(memory) = Mem::arena().find(raw) {
            let class = Class::Object { kind: memory.kind(), flags: memory.flags };
            return Some((Given::Mem(Arc::downgrade(&memory)), class, memory.context.clone()));
        }
        if let Some(sampler) = Sampler::arena().find(raw) {
            let class = Class::Object { kind: 0, flags: 0 };
            return Some((Given::Sampler(Arc::downgrade(&sampler)), class, sampler.context.clone()));
        }
        let queue = Queue::arena().find(raw)?;
        let class = Class::Object { kind: 1, flags: 0 };
        Some((Given::Queue(Arc::downgrade(&queue)), class, queue.context.clone()))
    }

    fn handle(&self) -> Option<Handle> {
        match self {
            Given::Mem(memory) => memory.upgrade().map(|memory| memory.handle),
            Given::Sampler(sampler) => sampler.upgrade().map(|sampler| sampler.handle),
            Given::Queue(queue) => queue.upgrade().map(|queue| queue.handle),
        }
    }
}

/// What the host accepts alike.
#[derive(Clone, PartialEq, Debug)]
enum Class {
    Bytes(usize),
    Local,
    Null(usize),
    Svm,
    Object { kind: u32, flags: u64 },
}

#[derive(Clone)]
enum Value {
    Unset,
    Bytes(Vec<u8>),
    Null,
    Svm(usize),
    Object(Given),
}

/// An argument.
#[derive(Clone)]
pub struct Argument {
    shape: u32,
    /// What the host accepted last.
    accepted: Option<Class>,
    value: Value,
    size: usize,
    /// The host has not had this value.
    is_new: bool,
}

impl Argument {
    /// An argument of a shape (`SHAPE_…`) that is not set.
    #[must_use]
    pub fn new(shape: u32) -> Argument {
        Argument { shape, accepted: None, value: Value::Unset, size: 0, is_new: false }
    }

    /// How the value travels: `ARG_…` and its bytes.
    fn encoded(&self) -> Result<(u32, Vec<u8>), cl_int> {
        match &self.value {
            Value::Unset => Err(CL_INVALID_KERNEL_ARGS),
            Value::Null => Ok((ARG_NULL, Vec::new())),
            Value::Bytes(bytes) => Ok((ARG_BYTES, bytes.clone())),
            Value::Svm(address) => Ok((ARG_SVM, (*address as u64).to_le_bytes().to_vec())),
            Value::Object(given) => {
                let handle = given.handle().ok_or(CL_INVALID_KERNEL_ARGS)?;
                Ok((ARG_HANDLE, handle.0.to_le_bytes().to_vec()))
            }
        }
    }
}

/// What the program gave: size, and pointer to the value.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Which argument.
    pub index: u32,
    /// Bytes.
    pub size: usize,
    /// The value, null for none.
    pub value: *const c_void,
}

fn read(kernel: &Live<Kernel>, caller: &Caller, setting: Setting, shape: u32) -> Result<(Value, Class), cl_int> {
    let Setting { index, size, value } = setting;
    if value.is_null() {
        if shape == SHAPE_LOCAL && size == 0 {
            return Err(CL_INVALID_ARG_SIZE);
        }
        return Ok((Value::Null, if shape == SHAPE_LOCAL { Class::Local } else { Class::Null(size) }));
    }
    if shape == SHAPE_LOCAL {
        return Err(CL_INVALID_ARG_VALUE);
    }
    let is_object = shape == SHAPE_MEMORY || shape == SHAPE_OBJECT;
    if size > MOST_BYTES || (is_object && size != POINTER_BYTES) {
        return Err(CL_INVALID_ARG_SIZE);
    }
    // SAFETY: not null, so as long as it says by the promise of the function's caller.
    let bytes = unsafe { user::bytes(value, size) };
    if shape != SHAPE_VALUE && size == POINTER_BYTES {
        let raw = user::In(value.cast::<Raw>()).get()?;
        if raw.is_null() && shape == SHAPE_MEMORY {
            return Ok((Value::Null, Class::Null(size)));
        }
        if let Some((given, class, context)) = Given::find(raw) {
            if !Arc::ptr_eq(&context, &kernel.context) {
                return Err(CL_INVALID_MEM_OBJECT);
            }
            return Ok((Value::Object(given), class));
        }
        if is_object {
            let index = index.to_ne_bytes();
            let name = kernel.fact(caller, INFO_KERNEL_ARG, Handle::NULL, CL_KERNEL_ARG_TYPE_NAME, &index);
            let is_sampler = name.is_ok_and(|name| name.starts_with(b"sampler"));
            return Err(if is_sampler { CL_INVALID_SAMPLER } else { CL_INVALID_MEM_OBJECT });
        }
    }
    Ok((Value::Bytes(bytes.to_vec()), Class::Bytes(size)))
}

/// Sets an argument.
///
/// # Errors
/// The API's, or the host's answer.
pub fn set(kernel: &Live<Kernel>, setting: Setting) -> Result<(), cl_int> {
    let caller = caller::enter()?;
    let mut arguments = kernel.arguments();
    let argument = arguments.get_mut(setting.index as usize).ok_or(CL_INVALID_ARG_INDEX)?;
    let (value, class) = read(kernel, &caller, setting, argument.shape)?;
    put(kernel, &caller, argument, setting, (value, class))
}

/// Sets an argument to an address of shared virtual memory.
///
/// # Errors
/// The API's, or the host's answer.
pub fn set_svm(kernel: &Live<Kernel>, index: u32, address: usize) -> Result<(), cl_int> {
    let mut arguments = kernel.arguments();
    let argument = arguments.get_mut(index as usize).ok_or(CL_INVALID_ARG_INDEX)?;
    if argument.shape != SHAPE_MEMORY && argument.shape != SHAPE_UNKNOWN {
        return Err(CL_INVALID_ARG_VALUE);
    }
    let setting = Setting { index, size: POINTER_BYTES, value: core::ptr::null() };
    put(kernel, &caller::enter()?, argument, setting, (Value::Svm(address), Class::Svm))
}

/// Keeps a value, which the host is asked about where it has accepted none of its class before.
fn put(
    kernel: &Live<Kernel>,
    caller: &Caller,
    argument: &mut Argument,
    setting: Setting,
    (value, class): (Value, Class),
) -> Result<(), cl_int> {
    let mut next = Argument { value, size: setting.size, is_new: true, ..argument.clone() };
    if next.accepted.as_ref() != Some(&class) {
        let (sort, bytes) = next.encoded()?;
        let sent = send::gpuferrySetArg(caller, kernel.handle, setting.index, sort, setting.size, &bytes);
        caller::answer(sent)?;
        next.accepted = Some(class);
        next.is_new = false;
    }
    *argument = next;
    Ok(())
}

/// The arguments that the host has not had, as `gpuferryLaunch` takes them.
///
/// # Errors
/// `CL_INVALID_KERNEL_ARGS` where one is not set, or its object has ended.
pub fn changed(arguments: &[Argument]) -> Result<Vec<u8>, cl_int> {
    let mut all = Vec::new();
    for (index, argument) in (0u32..).zip(arguments) {
        match &argument.value {
            Value::Object(given) if !argument.is_new => {
                given.handle().ok_or(CL_INVALID_KERNEL_ARGS)?;
            }
            Value::Unset => return Err(CL_INVALID_KERNEL_ARGS),
            _ if !argument.is_new => {}
            _ => {
                let (sort, bytes) = argument.encoded()?;
                all.extend(index.to_le_bytes());
                all.extend(sort.to_le_bytes());
                all.extend((argument.size as u64).to_le_bytes());
                all.extend(&bytes);
                all.resize(all.len().next_multiple_of(8), 0);
            }
        }
    }
    Ok(all)
}

/// The host has had all of them.
pub fn mark(arguments: &mut [Argument]) {
    arguments.iter_mut().for_each(|argument| argument.is_new = false);
}

/// Bytes of local memory that arguments ask for.
#[must_use]
pub fn local_bytes(arguments: &[Argument]) -> u64 {
    let local = arguments.iter().filter(|argument| argument.shape == SHAPE_LOCAL);
    local.fold(0u64, |sum, argument| sum.saturating_add(argument.size as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_when_values_are_new_then_has_those_alone() {
        let value = |bytes: &[u8], is_new| Argument {
            value: Value::Bytes(bytes.to_vec()),
            size: bytes.len(),
            is_new,
            ..Argument::new(SHAPE_VALUE)
        };
        let local = Argument { value: Value::Null, size: 64, is_new: true, ..Argument::new(SHAPE_LOCAL) };
        let mut arguments = vec![value(&[1, 2, 3, 4], true), value(&[5], false), local];
        let all = changed(&arguments).expect("all are set");
        let first = [&0u32.to_le_bytes()[..], &ARG_BYTES.to_le_bytes(), &4u64.to_le_bytes(), &[1, 2, 3, 4, 0, 0, 0, 0]];
        let last = [&2u32.to_le_bytes()[..], &ARG_NULL.to_le_bytes(), &64u64.to_le_bytes()];
        assert_eq!(all, [first.concat(), last.concat()].concat());
        assert_eq!(local_bytes(&arguments), 64);
        mark(&mut arguments);
        assert_eq!(changed(&arguments), Ok(vec![]));
        arguments.push(Argument::new(SHAPE_VALUE));
        assert_eq!(changed(&arguments), Err(CL_INVALID_KERNEL_ARGS));
    }

    #[test]
    fn changed_when_an_object_has_ended_then_refuses() {
        let gone = Argument { value: Value::Object(Given::Mem(Weak::new())), size: 8, ..Argument::new(SHAPE_MEMORY) };
        assert_eq!(changed(&[gone]), Err(CL_INVALID_KERNEL_ARGS));
    }
}
