//! Library management: code and kernels that belong to no context.

use std::ffi::c_char;

use super::modules::{attribute, compile_image, param_info, read_file, settable};
use crate::context;
use crate::device;
use crate::driver;
use crate::export::cuda;
use crate::foreign::{In, Out, Text};
use crate::handle::Handle;
use crate::image;
use crate::jit_options::JitOptions;
use crate::module::{Function, Kernel, Library, MAX_DYNAMIC_SHARED, Module, PLAIN_SHARED};
use crate::status::{Answer, Status};
use crate::work::lock;

fn create(out: Out<Handle<Library>>, texts: Answer<Vec<Vec<u8>>>, options: JitOptions) -> Answer {
    // No code at all is a mistake of the call; what is wrong with it is told when it is used.
    let made = match compile_image(texts, options) {
        Err(status @ (Status::INVALID_VALUE | Status::FILE_NOT_FOUND)) => return Err(status),
        made => made,
    };
    out.set(Library::create(made)?)
}

cuda! {
    fn cuLibraryLoadData(
        out: Out<Handle<Library>>, code: u64, options: In<u32>, values: In<u64>, count: u32,
        _library_options: In<u32>, _library_values: In<u64>, _library_count: u32,
    ) {
        out.check()?;
        let options = JitOptions::read(count, options, values)?;
        create(out, image::at_address(code, driver::initialised()?.capability, true), options)
    }

    fn cuLibraryLoadFromFile(
        out: Out<Handle<Library>>, name: Text, options: In<u32>, values: In<u64>, count: u32,
        _library_options: In<u32>, _library_values: In<u64>, _library_count: u32,
    ) {
        out.check()?;
        let options = JitOptions::read(count, options, values)?;
        create(out, read_file(name).map(|text| vec![text]), options)
    }

    fn cuLibraryUnload(library: Handle<Library>) {
        Library::unload(library)
    }

    fn cuLibraryGetKernel(out: Out<Handle<Kernel>>, library: Handle<Library>, name: Text) {
        out.check()?;
        let name = name.read()?;
        out.set(library.get()?.kernel(&name)?)
    }

    fn cuLibraryGetKernelCount(count: Out<u32>, library: Handle<Library>) {
        count.set(library.get()?.entries().len() as u32)
    }

    fn cuLibraryEnumerateKernels(kernels: Out<Handle<Kernel>>, count: u32, library: Handle<Library>) {
        kernels.check()?;
        let library = library.get()?;
        for (at, info) in library.entries().iter().take(count as usize).enumerate() {
            kernels.set_at(at, library.kernel(&info.name)?)?;
        }
        Ok(())
    }

    fn cuLibraryGetModule(module: Out<Handle<Module>>, library: Handle<Library>) {
        module.check()?;
        module.set(library.get()?.module(&context::usable()?)?.handle)
    }

    fn cuLibraryGetGlobal(address: Out<u64>, bytes: Out<u64>, library: Handle<Library>, name: Text) {
        let name = name.read()?;
        let variable = library.get()?.module(&context::usable()?)?.variable(&name)?;
        address.set_if_wanted(variable.address);
        bytes.set_if_wanted(variable.size);
        Ok(())
    }

    fn cuLibraryGetManaged(address: Out<u64>, bytes: Out<u64>, library: Handle<Library>, name: Text) {
        let name = name.read()?;
        let variable = library.get()?.managed_variable(&name)?;
        address.set_if_wanted(variable.address);
        bytes.set_if_wanted(variable.size);
        Ok(())
    }

    fn cuKernelGetFunction(function: Out<Handle<Function>>, kernel: Handle<Kernel>) {
        function.check()?;
        function.set(kernel.get()?.function(&context::usable()?)?.handle)
    }

    fn cuKernelGetLibrary(library: Out<Handle<Library>>, kernel: Handle<Kernel>) {
        library.check()?;
        library.set(kernel.get()?.library.handle)
    }

    fn cuKernelGetName(name: Out<*const c_char>, kernel: Handle<Kernel>) {
        name.check()?;
        name.set(kernel.get()?.name.as_ptr())
    }

    fn cuKernelGetParamInfo(kernel: Handle<Kernel>, index: u64, offset: Out<u64>, size: Out<u64>) {
        offset.check()?;
        param_info(&kernel.get()?.info, index, offset, size)
    }

    fn cuKernelGetAttribute(value: Out<i32>, number: u32, kernel: Handle<Kernel>, device: i32) {
        value.check()?;
        device::check(device)?;
        let kernel = kernel.get()?;
        let set = lock(&kernel.attributes).get(&number).copied();
        let plain = PLAIN_SHARED.saturating_sub(kernel.info.static_shared_bytes);
        let most = set.filter(|_| number == MAX_DYNAMIC_SHARED).map_or(plain, |value| value as u32);
        value.set(attribute(&kernel.info, number, most, set)?)
    }

    fn cuKernelSetAttribute(number: u32, value: i32, kernel: Handle<Kernel>, device: i32) {
        device::check(device)?;
        let kernel = kernel.get()?;
        settable(&kernel.info, number, value)?;
        lock(&kernel.attributes).insert(number, value);
        Ok(())
    }

    fn cuKernelSetCacheConfig(kernel: Handle<Kernel>, config: u32, device: i32) {
        device::check(device)?;
        kernel.get()?;
        if config > 3 { Err(Status::INVALID_VALUE) } else { Ok(()) }
    }
}
