//! Initialization, version and errors.

use std::ffi::c_char;

use crate::driver;
use crate::export::cuda;
use crate::foreign::Out;
use crate::status::Status;

cuda! {
    early fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        driver::start()
    }

    early fn cuDriverGetVersion(version: Out<i32>) {
        version.set(driver::VERSION)
    }

    early fn cuGetErrorName(error: u32, text: Out<*const c_char>) {
        let name = Status(error).name();
        text.set(name.map_or(std::ptr::null(), |name| name.as_ptr()))?;
        name.map(drop).ok_or(Status::INVALID_VALUE)
    }

    early fn cuGetErrorString(error: u32, text: Out<*const c_char>) {
        let sentence = Status(error).text();
        text.set(sentence.map_or(std::ptr::null(), |sentence| sentence.as_ptr()))?;
        sentence.map(drop).ok_or(Status::INVALID_VALUE)
    }

    fn cuProfilerStart() {
        crate::context::fault()
    }

    fn cuProfilerStop() {
        crate::context::fault()
    }
}
