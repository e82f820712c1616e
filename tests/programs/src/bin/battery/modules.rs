//! Modules and libraries: images in each form, what is in them, and images that are none.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use programs::driver::{Handle, text_of};
use programs::{call, must};

use crate::bench::{Bench, KERNELS, On, place};
use crate::images::{Wrapper, fat_binary};

const INFO_LOG: [u32; 2] = [3, 4];
const ERROR_LOG: [u32; 2] = [5, 6];
const NOT_PTX: &CStr = c"this is not an image of any kind";
const BROKEN_PTX: &CStr =
    c".version 6.3\n.target sm_75\n.address_size 64\n.visible .entry broken() { mov.u32 %r1, 1 ret; }\n";
const UNDEFINED: &CStr =
    c".version 6.3\n.target sm_75\n.address_size 64\n.extern .func missing;\n.visible .entry caller() { call missing; ret; }\n";
const FUTURE: &CStr = c".version 99.0\n.target sm_75\n.address_size 64\n.visible .entry future() { ret; }\n";

pub fn run(bench: &Bench) -> Result<(), String> {
    forms(bench);
    contents(bench)?;
    refused(bench);
    logs(bench);
    variables(bench)
}

fn forms(bench: &Bench) {
    let cuda = &bench.cuda;
    let fat = fat_binary(KERNELS, 75);
    let wrapper = Wrapper::around(&fat);
    let newer = fat_binary(KERNELS, 500);
    // Each starts from none: the vendor's library may end its process when it is handed a module that has ended.
    let load = |what: &str, it: &str, load: &dyn Fn(&mut Handle) -> i32| {
        let mut module = 0;
        bench.code(what, load(&mut module));
        bench.code(&format!("unload {it}"), call!(cuda, cuModuleUnload(module)));
    };
    load("PTX text", "PTX text", &|module| call!(cuda, cuModuleLoadData(module, KERNELS.as_ptr().cast())));
    load("fat binary", "fat binary", &|module| call!(cuda, cuModuleLoadData(module, fat.as_ptr().cast())));
    load("wrapper", "wrapper", &|module| call!(cuda, cuModuleLoadData(module, place(&wrapper))));
    load("cuModuleLoadFatBinary, fat binary", "it", &|module| {
        call!(cuda, cuModuleLoadFatBinary(module, fat.as_ptr().cast()))
    });
    load("cuModuleLoadFatBinary, wrapper", "it", &|module| call!(cuda, cuModuleLoadFatBinary(module, place(&wrapper))));
    let mut module = 0;
    bench.code("fat binary for later devices", call!(cuda, cuModuleLoadData(&mut module, newer.as_ptr().cast())));
}

fn contents(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut count, mut function, mut again, mut module) = (0, 0, 0, 0);
    bench.code("function count", call!(cuda, cuModuleGetFunctionCount(&mut count, bench.module)));
    bench.say("functions", count);
    bench.code("a function", call!(cuda, cuModuleGetFunction(&mut function, bench.module, c"fill".as_ptr())));
    must!(cuda, cuModuleGetFunction(&mut again, bench.module, c"fill".as_ptr()))?;
    bench.say("asked again, it is the same", again == function);
    let mut name = null();
    bench.code("its name", call!(cuda, cuFuncGetName(&mut name, function)));
    bench.say("name", text_of(name));
    bench.code("its module", call!(cuda, cuFuncGetModule(&mut module, function)));
    bench.say("it is the module", module == bench.module);
    bench.code("no such function", call!(cuda, cuModuleGetFunction(&mut function, bench.module, c"absent".as_ptr())));
    bench.code("function with no name", call!(cuda, cuModuleGetFunction(&mut function, bench.module, c"".as_ptr())));
    bench.code("function, null name", call!(cuda, cuModuleGetFunction(&mut function, bench.module, null())));
    bench.code("function, null out", call!(cuda, cuModuleGetFunction(null_mut(), bench.module, c"fill".as_ptr())));
    bench.code("function of NULL", call!(cuda, cuModuleGetFunction(&mut function, 0, c"fill".as_ptr())));
    bench.code("count of NULL", call!(cuda, cuModuleGetFunctionCount(&mut count, 0)));
    bench.code("name of NULL", call!(cuda, cuFuncGetName(&mut name, 0)));
    attributes(bench, again);
    parameters(bench)
}

fn attributes(bench: &Bench, fill: Handle) {
    let cuda = &bench.cuda;
    let mut value = 0;
    let sum = bench.function("sum").unwrap_or(0);
    for attribute in 0..=15 {
        let status = call!(cuda, cuFuncGetAttribute(&mut value, attribute, sum));
        bench.fact(&format!("sum attribute {attribute}"), format!("{value} {}", cuda.name_of(status)));
    }
    for (what, attribute) in
        [("most threads", 0), ("static shared bytes", 1), ("constant bytes", 2), ("local bytes", 3)]
    {
        let status = call!(cuda, cuFuncGetAttribute(&mut value, attribute, sum));
        bench.say(&format!("sum {what}"), format!("{value} {}", cuda.name_of(status)));
    }
    bench.code("set dynamic shared bytes", call!(cuda, cuFuncSetAttribute(fill, 8, 16384)));
    bench.code("get them", call!(cuda, cuFuncGetAttribute(&mut value, 8, fill)));
    bench.say("dynamic shared bytes", value);
    bench.code("set far too many", call!(cuda, cuFuncSetAttribute(fill, 8, 1 << 30)));
    bench.code("set a negative number", call!(cuda, cuFuncSetAttribute(fill, 8, -5)));
    bench.code("set what cannot be set", call!(cuda, cuFuncSetAttribute(fill, 0, 5)));
    bench.code("set the carveout", call!(cuda, cuFuncSetAttribute(fill, 9, 50)));
    bench.code("no such attribute", call!(cuda, cuFuncGetAttribute(&mut value, 1000, fill)));
    bench.code("attribute, null", call!(cuda, cuFuncGetAttribute(null_mut(), 0, fill)));
    bench.code("attribute of NULL", call!(cuda, cuFuncGetAttribute(&mut value, 0, 0)));
    bench.code("cache config", call!(cuda, cuFuncSetCacheConfig(fill, 2)));
    bench.code("cache config of NULL", call!(cuda, cuFuncSetCacheConfig(0, 2)));
}

fn parameters(bench: &Bench) -> Result<(), String> {
    let function = bench.function("parameters")?;
    for index in 0..=8 {
        let (mut offset, mut size) = (0, 0);
        let status = call!(bench.cuda, cuFuncGetParamInfo(function, index, &mut offset, &mut size));
        let value = if status == 0 { format!("offset {offset}, size {size}") } else { bench.cuda.name_of(status) };
        bench.say(&format!("parameter {index}"), value);
    }
    let mut offset = 0;
    bench.code("size not asked", call!(bench.cuda, cuFuncGetParamInfo(function, 1, &mut offset, null_mut())));
    bench.code("offset not asked", call!(bench.cuda, cuFuncGetParamInfo(function, 1, null_mut(), &mut offset)));
    Ok(())
}

fn refused(bench: &Bench) {
    let cuda = &bench.cuda;
    let mut module = 0;
    let zeros = [0u64; 64];
    bench.code("text that is no image", call!(cuda, cuModuleLoadData(&mut module, NOT_PTX.as_ptr().cast())));
    bench.code("PTX that does not compile", call!(cuda, cuModuleLoadData(&mut module, BROKEN_PTX.as_ptr().cast())));
    bench.code(
        "PTX that calls what is not there",
        call!(cuda, cuModuleLoadData(&mut module, UNDEFINED.as_ptr().cast())),
    );
    bench.code("PTX of a version to come", call!(cuda, cuModuleLoadData(&mut module, FUTURE.as_ptr().cast())));
    bench.code("an empty text", call!(cuda, cuModuleLoadData(&mut module, zeros.as_ptr().cast())));
    bench.code("image, null", call!(cuda, cuModuleLoadData(&mut module, null())));
    bench.code("module, null", call!(cuda, cuModuleLoadData(null_mut(), KERNELS.as_ptr().cast())));
    bench.code("unload NULL", call!(cuda, cuModuleUnload(0)));
}

fn logs(bench: &Bench) {
    let cuda = &bench.cuda;
    let (mut info, mut error, mut module) = (vec![0u8; 4096], vec![0u8; 4096], 0);
    let options = [INFO_LOG[0], INFO_LOG[1], ERROR_LOG[0], ERROR_LOG[1]];
    let mut values = [info.as_mut_ptr() as usize, 4096, error.as_mut_ptr() as usize, 4096];
    let image = BROKEN_PTX.as_ptr().cast();
    let status = call!(cuda, cuModuleLoadDataEx(&mut module, image, 4, options.as_ptr(), values.as_mut_ptr()));
    bench.code("PTX that does not compile, with logs", status);
    let log = text_of(error.as_ptr().cast());
    bench.fact("error log", format!("{:?}", log.lines().next().unwrap_or("")));
    bench.say("the error log says something", !log.is_empty());
    let mut values = [info.as_mut_ptr() as usize, 4096, error.as_mut_ptr() as usize, 4096];
    let image = KERNELS.as_ptr().cast();
    let status = call!(cuda, cuModuleLoadDataEx(&mut module, image, 4, options.as_ptr(), values.as_mut_ptr()));
    bench.code("good PTX, with logs", status);
    bench.code("unload it", call!(cuda, cuModuleUnload(module)));
    let (bad, mut none) = ([9999u32], [0usize]);
    let status = call!(cuda, cuModuleLoadDataEx(&mut module, image, 1, bad.as_ptr(), none.as_mut_ptr()));
    bench.code("an option that is none", status);
}

fn variables(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut address, mut bytes) = (0, 0);
    bench
        .code("variable", call!(cuda, cuModuleGetGlobal_v2(&mut address, &mut bytes, bench.module, c"table".as_ptr())));
    bench.say("bytes", bytes);
    bench.put(address, &[3u8; 100])?;
    bench.code(
        "variable",
        call!(cuda, cuModuleGetGlobal_v2(&mut address, &mut bytes, bench.module, c"variable".as_ptr())),
    );
    bench.say("bytes and value", format!("{bytes} {:#x}", bench.get::<u32>(address, 1)?[0]));
    let out = bench.allocate(12)?;
    let status = bench.launch(bench.function("globals")?, [1; 3], [1; 3], On::default(), &[place(&out)]);
    bench.code("a kernel that uses variables", status);
    bench.say("it saw", format!("{:x?}", bench.get::<u32>(out, 3)?));
    bench.say("it left", format!("{:#x}", bench.get::<u32>(address, 1)?[0]));
    bench.free(out)?;
    let name = c"absent".as_ptr();
    bench.code("no such variable", call!(cuda, cuModuleGetGlobal_v2(&mut address, &mut bytes, bench.module, name)));
    let name = c"table".as_ptr();
    bench.code("only the size", call!(cuda, cuModuleGetGlobal_v2(null_mut(), &mut bytes, bench.module, name)));
    bench.code("only the address", call!(cuda, cuModuleGetGlobal_v2(&mut address, null_mut(), bench.module, name)));
    bench.code("variable of NULL", call!(cuda, cuModuleGetGlobal_v2(&mut address, &mut bytes, 0, name)));
    bench
        .code("variable, null name", call!(cuda, cuModuleGetGlobal_v2(&mut address, &mut bytes, bench.module, null())));
    Ok(())
}

pub fn libraries(bench: &Bench) -> Result<(), String> {
    let cuda = &bench.cuda;
    let fat = fat_binary(KERNELS, 75);
    let wrapper = Wrapper::around(&fat);
    let (n, z) = (null(), null());
    let (mut library, mut from_fat, mut kernel, mut count) = (0, 0, 0, 0);
    let text = KERNELS.as_ptr().cast();
    bench.code("PTX text", call!(cuda, cuLibraryLoadData(&mut library, text, n, z, 0, n, z, 0)));
    bench.code("wrapper", call!(cuda, cuLibraryLoadData(&mut from_fat, place(&wrapper), n, z, 0, n, z, 0)));
    bench.code("kernel count", call!(cuda, cuLibraryGetKernelCount(&mut count, library)));
    bench.say("kernels", count);
    bench.code("a kernel", call!(cuda, cuLibraryGetKernel(&mut kernel, library, c"fill".as_ptr())));
    kernels(bench, library, kernel)?;
    bench.code("no such kernel", call!(cuda, cuLibraryGetKernel(&mut kernel, library, c"absent".as_ptr())));
    bench.code("kernel, null", call!(cuda, cuLibraryGetKernel(null_mut(), library, c"fill".as_ptr())));
    bench.code("kernel of NULL", call!(cuda, cuLibraryGetKernel(&mut kernel, 0, c"fill".as_ptr())));
    let (mut address, mut bytes) = (0, 0);
    bench.code("variable", call!(cuda, cuLibraryGetGlobal(&mut address, &mut bytes, from_fat, c"table".as_ptr())));
    bench.say("bytes", bytes);
    bench.code(
        "no such variable",
        call!(cuda, cuLibraryGetGlobal(&mut address, &mut bytes, library, c"absent".as_ptr())),
    );
    // Only looked at when it is used, unless CUDA_MODULE_LOADING says otherwise.
    let lazy = call!(cuda, cuLibraryLoadData(&mut kernel, NOT_PTX.as_ptr().cast(), n, z, 0, n, z, 0));
    bench.fact("image that is none", cuda.name_of(lazy));
    bench.code("image, null", call!(cuda, cuLibraryLoadData(&mut kernel, null(), n, z, 0, n, z, 0)));
    bench.code("library, null", call!(cuda, cuLibraryLoadData(null_mut(), text, n, z, 0, n, z, 0)));
    bench.code("unload", call!(cuda, cuLibraryUnload(library)));
    bench.code("unload", call!(cuda, cuLibraryUnload(from_fat)));
    bench.code("unload NULL", call!(cuda, cuLibraryUnload(0)));
    Ok(())
}

fn kernels(bench: &Bench, library: Handle, kernel: Handle) -> Result<(), String> {
    let cuda = &bench.cuda;
    let (mut module, mut function, mut value, mut name) = (0, 0, 0, null());
    bench.code("its name", call!(cuda, cuKernelGetName(&mut name, kernel)));
    bench.say("name", text_of(name));
    bench.code("an attribute", call!(cuda, cuKernelGetAttribute(&mut value, 0, kernel, bench.device)));
    bench.say("most threads", value);
    bench.code("its function", call!(cuda, cuKernelGetFunction(&mut function, kernel)));
    bench.code("function of NULL", call!(cuda, cuKernelGetFunction(&mut function, 0)));
    bench.code("the library's module", call!(cuda, cuLibraryGetModule(&mut module, library)));
    let (out, count, scale, offset) = (bench.allocate(1024)?, 256u32, 3u32, 5u32);
    let parameters = [place(&out), place(&count), place(&scale), place(&offset)];
    must!(cuda, cuKernelGetFunction(&mut function, kernel))?;
    for (what, launched) in [("function", function), ("kernel", kernel)] {
        must!(cuda, cuMemsetD8_v2(out, 0, 1024))?;
        bench.code(
            &format!("launch by {what}"),
            bench.launch(launched, [1; 3], [256, 1, 1], On::default(), &parameters),
        );
        bench.say("last word", bench.get::<u32>(out, 256)?[255]);
    }
    bench.free(out)
}
