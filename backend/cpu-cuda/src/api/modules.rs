//! Module management, and the attributes of functions.

use std::ffi::c_char;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::capture;
use crate::context;
use crate::driver;
use crate::engine::FunctionInfo;
use crate::export::cuda;
use crate::foreign::{In, Out, Text};
use crate::handle::Handle;
use crate::image;
use crate::jit_options::JitOptions;
use crate::module::{self, Function, MAX_DYNAMIC_SHARED, Module, callable};
use crate::status::{Answer, Status};
use crate::texture::TextureReference;
use crate::work::lock;

/// CUmoduleLoadingMode: functions are compiled when first used.
const LAZY: u32 = 2;

/// Reads an image and compiles it, writing the program's logs.
pub fn compile_image(texts: Answer<Vec<Vec<u8>>>, options: JitOptions) -> Answer<(Vec<u8>, crate::engine::Module)> {
    let begun = Instant::now();
    let mut errors = String::new();
    let made = texts.and_then(|texts| module::compile(&texts, options.max_registers, &mut errors));
    options.report("", &errors, begun.elapsed().as_secs_f32() * 1e3);
    made
}

fn load(out: Out<Handle<Module>>, image: u64, options: JitOptions) -> Answer {
    load_from(out, (image, false), options)
}

/// A module of what nvcc puts into programs: a fat binary, in its wrapper or without.
pub fn load_wrapped(out: Out<Handle<Module>>, image: u64) -> Answer {
    load_from(out, (image, true), JitOptions::default())
}

fn load_from(out: Out<Handle<Module>>, (image, wrapped): (u64, bool), options: JitOptions) -> Answer {
    out.check()?;
    let context = context::usable()?;
    let texts = image::at_address(image, driver::initialised()?.capability, wrapped);
    let (_, code) = compile_image(texts, options)?;
    out.set(Module::create(context, code, None)?.handle)
}

/// Reads an image from a file.
pub fn read_file(name: Text) -> Answer<Vec<u8>> {
    let bytes = name.bytes()?;
    let path = std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&bytes));
    if path.is_dir() {
        // A GPU's driver opens it, and believes the size that it is told.
        return Err(Status::OUT_OF_MEMORY);
    }
    let mut image = std::fs::read(path).map_err(|_| Status::FILE_NOT_FOUND)?;
    image.truncate(image::MOST);
    image::in_bytes(&image, driver::initialised()?.capability)
}

/// The value of a function attribute that the engine knows, or that was set.
pub fn attribute(info: &FunctionInfo, number: u32, max_dynamic: u32, set: Option<i32>) -> Answer<i32> {
    let value = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let cluster = |axis: usize| info.required_cluster.map_or(0, |cluster| value(cluster[axis]));
    Ok(match number {
        0 => value(info.max_threads),
        1 => value(info.static_shared_bytes),
        2 => value(info.const_bytes),
        3 => value(info.local_bytes),
        4 => value(info.registers),
        5 => value(info.target),
        6 => value(driver::initialised()?.capability),
        7 => 0,
        MAX_DYNAMIC_SHARED => value(max_dynamic),
        9 => set.unwrap_or(-1),
        10 => i32::from(info.required_cluster.is_some()),
        11..=13 => set.unwrap_or(cluster(number as usize - 11)),
        14 | 15 => set.unwrap_or(0),
        _ => return Err(Status::INVALID_VALUE),
    })
}

/// Whether a function attribute may be given this value.
pub fn settable(info: &FunctionInfo, number: u32, value: i32) -> Answer {
    let most = crate::device::shared_per_block_optin().saturating_sub(info.static_shared_bytes);
    let good = match number {
        MAX_DYNAMIC_SHARED => u32::try_from(value).is_ok_and(|value| value <= most),
        9 => (-1..=100).contains(&value),
        11..=15 => value >= 0,
        _ => false,
    };
    if good { Ok(()) } else { Err(Status::INVALID_VALUE) }
}

fn function(handle: u64) -> Answer<Arc<Function>> {
    callable(handle, context::usable)
}

cuda! {
    fn cuModuleLoad(out: Out<Handle<Module>>, name: Text) {
        out.check()?;
        let context = context::usable()?;
        let (_, code) = compile_image(read_file(name).map(|text| vec![text]), JitOptions::default())?;
        out.set(Module::create(context, code, None)?.handle)
    }

    fn cuModuleLoadData(out: Out<Handle<Module>>, image: u64) {
        load(out, image, JitOptions::default())
    }

    fn cuModuleLoadDataEx(out: Out<Handle<Module>>, image: u64, count: u32, options: In<u32>, values: In<u64>) {
        load(out, image, JitOptions::read(count, options, values)?)
    }

    fn cuModuleLoadFatBinary(out: Out<Handle<Module>>, image: u64) {
        load(out, image, JitOptions::default())
    }

    fn cuModuleUnload(module: Handle<Module>) {
        let module = module.get()?;
        if module.library.is_some() {
            return Err(Status::NOT_PERMITTED);
        }
        capture::permit()?;
        // Its kernels may run still; their variables must outlast them. A fault is told by the next call.
        let _ = module.context.synchronize();
        module.unload();
        module.context.check()
    }

    fn cuModuleGetLoadingMode(mode: Out<u32>) {
        mode.set(LAZY)
    }

    fn cuModuleGetFunction(out: Out<Handle<Function>>, module: Handle<Module>, name: Text) {
        out.check()?;
        let name = name.read()?;
        if name.is_empty() {
            return Err(Status::INVALID_VALUE);
        }
        let module = module.get()?;
        module.context.check()?;
        out.set(module.function(&name)?)
    }

    fn cuModuleGetFunctionCount(count: Out<u32>, module: Handle<Module>) {
        let module = module.get()?;
        module.context.check()?;
        count.set(module.entries().len() as u32)
    }

    fn cuModuleEnumerateFunctions(functions: Out<Handle<Function>>, count: u32, module: Handle<Module>) {
        functions.check()?;
        let module = module.get()?;
        for (at, index) in module.entries().into_iter().take(count as usize).enumerate() {
            functions.set_at(at, module.function_at(index)?)?;
        }
        Ok(())
    }

    fn cuModuleGetGlobal_v2(address: Out<u64>, bytes: Out<u64>, module: Handle<Module>, name: Text) {
        let (module, name) = (module.get()?, name.read()?);
        module.context.check()?;
        if !address.wanted() && !bytes.wanted() || module.code.function(&name).is_some() {
            return Err(Status::INVALID_VALUE);
        }
        let variable = module.variable(&name)?;
        address.set_if_wanted(variable.address);
        bytes.set_if_wanted(variable.size);
        Ok(())
    }

    fn cuModuleGetTexRef(out: Out<Handle<TextureReference>>, module: Handle<Module>, name: Text) {
        out.check()?;
        let name = name.read()?;
        out.set(module.get()?.texture_reference(&name)?)
    }

    fn cuFuncGetAttribute(value: Out<i32>, number: u32, handle: u64) {
        value.check()?;
        let function = function(handle)?;
        let set = lock(&function.attributes).get(&number).copied();
        value.set(attribute(function.info()?, number, function.max_dynamic_shared.load(Ordering::Relaxed), set)?)
    }

    fn cuFuncSetAttribute(handle: u64, number: u32, value: i32) {
        let function = function(handle)?;
        settable(function.info()?, number, value)?;
        if number == MAX_DYNAMIC_SHARED {
            function.max_dynamic_shared.store(value as u32, Ordering::Relaxed);
        } else {
            lock(&function.attributes).insert(number, value);
        }
        Ok(())
    }

    fn cuFuncSetCacheConfig(handle: u64, config: u32) {
        function(handle)?;
        if config > 3 { Err(Status::INVALID_VALUE) } else { Ok(()) }
    }

    fn cuFuncSetSharedMemConfig(handle: u64, config: u32) {
        function(handle)?;
        if config > 2 { Err(Status::INVALID_VALUE) } else { Ok(()) }
    }

    fn cuFuncGetModule(module: Out<Handle<Module>>, handle: u64) {
        module.check()?;
        module.set(function(handle)?.module.handle)
    }

    fn cuFuncGetName(name: Out<*const c_char>, handle: u64) {
        name.check()?;
        if handle == 0 {
            return Err(Status::INVALID_VALUE);
        }
        // The text lives as long as its function does, which is as long as the program's handle is good.
        name.set(function(handle)?.name.as_ptr())
    }

    fn cuFuncGetParamInfo(handle: u64, index: u64, offset: Out<u64>, size: Out<u64>) {
        offset.check()?;
        let function = function(handle)?;
        param_info(function.info()?, index, offset, size)
    }

    fn cuFuncIsLoaded(state: Out<u32>, handle: u64) {
        state.check()?;
        state.set(u32::from(function(handle)?.is_ready()))
    }

    fn cuFuncLoad(handle: u64) {
        function(handle)?.ready()
    }
}

/// Where parameter `index` lies in the parameter block.
pub fn param_info(info: &FunctionInfo, index: u64, offset: Out<u64>, size: Out<u64>) -> Answer {
    let param = usize::try_from(index).ok().and_then(|index| info.params.get(index)).ok_or(Status::INVALID_VALUE)?;
    offset.set_if_wanted(u64::from(param.offset));
    size.set_if_wanted(u64::from(param.size));
    Ok(())
}
