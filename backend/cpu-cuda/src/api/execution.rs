//! Execution control: launches in all their forms.

use std::sync::Arc;

use crate::context;
use crate::event::Event;
use crate::export::cuda;
use crate::foreign::{In, Out};
use crate::handle::Handle;
use crate::launch::{self, ATTRIBUTE_CLUSTER, ATTRIBUTE_COOPERATIVE, KernelCall, Shape};
use crate::module::{Function, callable};
use crate::op::{HostFunction, Op};
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};
use crate::types::{LaunchAttribute, LaunchConfig, LaunchParams};
use crate::work::lock;

const ATTRIBUTE_PROGRAMMATIC_EVENT: u32 = 7;
const ATTRIBUTE_COMPLETION_EVENT: u32 = 12;
const MOST_ATTRIBUTES: u32 = 64;

fn launch(function: u64, shape: Shape, stream: Handle<Stream>, params: In<u64>, extra: In<u64>) -> Answer<Arc<Stream>> {
    let stream = stream::resolve(stream)?;
    stream.context.check()?;
    let function = callable(function, || Ok(stream.context.clone()))?;
    if function.module.context.id != stream.context.id {
        return Err(Status::INVALID_HANDLE);
    }
    let block = launch::pack(function.info()?, params, extra)?;
    stream.submit(Op::Kernel(Arc::new(KernelCall::new(function, shape, block)?)))?;
    Ok(stream)
}

/// Grid, block, shared memory and the attributes that change how a kernel runs, and the events to record behind it.
fn read_config(config: &LaunchConfig) -> Answer<(Shape, Vec<Arc<Event>>)> {
    let mut shape = Shape::new(config.grid, config.block, config.shared);
    let mut events = Vec::new();
    if config.count > MOST_ATTRIBUTES {
        return Err(Status::INVALID_VALUE);
    }
    for attribute in In(config.attributes as *const LaunchAttribute).read_all(config.count as usize)? {
        let [x, y, z, ..] = attribute.value;
        match attribute.id {
            ATTRIBUTE_COOPERATIVE => shape.cooperative = x != 0,
            ATTRIBUTE_CLUSTER => shape.cluster = [x, y, z],
            ATTRIBUTE_PROGRAMMATIC_EVENT | ATTRIBUTE_COMPLETION_EVENT => {
                let event = u64::from(x) | u64::from(y) << 32;
                if event != 0 {
                    events.push(Handle::<Event>::from_raw(event).get()?);
                }
            }
            // Cache windows, priorities, memory domains and so on are advice that changes no result.
            _ => {}
        }
    }
    Ok((shape, events))
}

/// The shape alone, for questions about occupancy.
pub fn config_shape(config: In<LaunchConfig>) -> Answer<Shape> {
    Ok(read_config(&config.read()?)?.0)
}

fn legacy(function: Handle<Function>, grid: [i32; 2], stream: Handle<Stream>) -> Answer {
    let function = function.get()?;
    let settings = lock(&function.legacy).clone();
    let [x, y] = grid.map(|n| u32::try_from(n).unwrap_or(0));
    let shape = Shape::new([x, y, 1], settings.block, settings.shared);
    let stream = stream::resolve(stream)?;
    let mut block = settings.params;
    block.resize(function.info()?.param_bytes as usize, 0);
    stream.submit(Op::Kernel(Arc::new(KernelCall::new(function, shape, block)?)))
}

fn set_param(function: Handle<Function>, offset: i32, bytes: &[u8]) -> Answer {
    let function = function.get()?;
    let most = function.info()?.param_bytes as usize;
    let from = usize::try_from(offset).map_err(|_| Status::INVALID_VALUE)?;
    let to = from.checked_add(bytes.len()).filter(|to| *to <= most).ok_or(Status::INVALID_VALUE)?;
    let mut settings = lock(&function.legacy);
    settings.params.resize(most, 0);
    settings.params.get_mut(from..to).ok_or(Status::INVALID_VALUE)?.copy_from_slice(bytes);
    Ok(())
}

cuda! {
    fn cuLaunchKernel | cuLaunchKernel_ptsz (
        function: u64, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared: u32, stream: Handle<Stream>, params: In<u64>, extra: In<u64>,
    ) {
        let shape = Shape::new([grid_x, grid_y, grid_z], [block_x, block_y, block_z], shared);
        launch(function, shape, stream, params, extra).map(drop)
    }

    fn cuLaunchKernelEx | cuLaunchKernelEx_ptsz (config: In<LaunchConfig>, function: u64, params: In<u64>, extra: In<u64>) {
        let config = config.read()?;
        let (shape, events) = read_config(&config)?;
        let stream = launch(function, shape, Handle::from_raw(config.stream), params, extra)?;
        events.into_iter().try_for_each(|event| stream.submit(Op::Record(event)))
    }

    fn cuLaunchCooperativeKernel | cuLaunchCooperativeKernel_ptsz (
        function: u64, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared: u32, stream: Handle<Stream>, params: In<u64>,
    ) {
        let plain = Shape::new([grid_x, grid_y, grid_z], [block_x, block_y, block_z], shared);
        launch(function, Shape { cooperative: true, ..plain }, stream, params, In(std::ptr::null())).map(drop)
    }

    fn cuLaunchCooperativeKernelMultiDevice(list: In<LaunchParams>, count: u32, _flags: u32) {
        if count != 1 {
            return Err(Status::INVALID_VALUE);
        }
        let only = list.read()?;
        let shape = Shape { cooperative: true, ..Shape::new(only.grid, only.block, only.shared) };
        let params = In(only.params as *const u64);
        launch(only.function, shape, Handle::from_raw(only.stream), params, In(std::ptr::null())).map(drop)
    }

    fn cuLaunchHostFunc | cuLaunchHostFunc_ptsz (stream: Handle<Stream>, function: Option<HostFunction>, data: u64) {
        let function = function.ok_or(Status::INVALID_VALUE)?;
        stream::resolve(stream)?.submit(Op::Host(function, data))
    }

    fn cuFuncSetBlockShape(function: Handle<Function>, x: i32, y: i32, z: i32) {
        lock(&function.get()?.legacy).block = [x, y, z].map(|n| u32::try_from(n).unwrap_or(0));
        Ok(())
    }

    fn cuFuncSetSharedSize(function: Handle<Function>, bytes: u32) {
        lock(&function.get()?.legacy).shared = bytes;
        Ok(())
    }

    fn cuParamSetSize(function: Handle<Function>, bytes: u32) {
        let function = function.get()?;
        if bytes > function.info()?.param_bytes { Err(Status::INVALID_VALUE) } else { Ok(()) }
    }

    fn cuParamSeti(function: Handle<Function>, offset: i32, value: u32) {
        set_param(function, offset, &value.to_le_bytes())
    }

    fn cuParamSetf(function: Handle<Function>, offset: i32, value: f32) {
        set_param(function, offset, &value.to_le_bytes())
    }

    fn cuParamSetv(function: Handle<Function>, offset: i32, value: In<u8>, bytes: u32) {
        set_param(function, offset, &value.read_all(bytes as usize)?)
    }

    fn cuParamSetTexRef(function: Handle<Function>, _unit: i32, reference: Handle<crate::texture::TextureReference>) {
        // Texture references are bound by name here; the call is needed by nothing.
        function.get()?;
        reference.get().map(drop)
    }

    fn cuLaunch(function: Handle<Function>) {
        legacy(function, [1, 1], Handle::NULL)
    }

    fn cuLaunchGrid(function: Handle<Function>, width: i32, height: i32) {
        legacy(function, [width, height], Handle::NULL)
    }

    fn cuLaunchGridAsync(function: Handle<Function>, width: i32, height: i32, stream: Handle<Stream>) {
        legacy(function, [width, height], stream)
    }

    fn cuLibraryGetUnifiedFunction(function: Out<u64>, library: Handle<crate::module::Library>, _name: crate::foreign::Text) {
        function.check()?;
        library.get()?;
        context::usable()?;
        // Needs pointers that host and device code share; the attribute UNIFIED_FUNCTION_POINTERS says there are none.
        Err(Status::NOT_SUPPORTED)
    }
}
