//! Kernels that print, among lines of the program's own: `prints [--flood LINES | --assert]`.
//!
//! The program prints through C's stream, as NVIDIA's library does, so that the order of all lines is defined: what a kernel
//! printed stands there when a call that waited for it returns. `--flood` has a kernel print so many long lines between two
//! of the program's, `--assert` one fail: its message goes to the standard error.

use std::ffi::{CString, c_void};
use std::process::ExitCode;

use programs::driver::{Driver, Handle};
use programs::{fail, must};

const NAME: &str = "prints";
const USAGE: &str = "usage: prints [--flood LINES | --assert]";
const BLOCK: u32 = 256;
/// A kernel whose threads print a text with its number and theirs.
macro_rules! saying {
    ($name:literal, $text:literal) => {
        concat!(
            ".visible .entry ",
            $name,
            "(.param .u32 n)\n{\n",
            ".local .align 8 .b8 args[8]; .reg .b32 %r<5>; .reg .b64 %rd<4>;\n",
            "ld.param.u32 %r0, [n]; mov.u32 %r1, %tid.x; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x;\n",
            "mad.lo.u32 %r1, %r3, %r4, %r1; st.local.u32 [args], %r0; st.local.u32 [args+4], %r1;\n",
            "mov.u64 %rd0, ",
            $text,
            "; cvta.global.u64 %rd0, %rd0; mov.u64 %rd1, args; cvta.local.u64 %rd1, %rd1;\n",
            "{ .param .b64 f; .param .b64 a; .param .b32 r; st.param.b64 [f], %rd0; st.param.b64 [a], %rd1;\n",
            "call.uni (r), vprintf, (f, a); ld.param.b32 %r2, [r]; }\nret;\n}\n"
        )
    };
}

const KERNEL: &str = concat!(
    ".version 6.4\n.target sm_75\n.address_size 64\n",
    ".extern .func (.param .b32 r) vprintf (.param .b64 f, .param .b64 a);\n",
    // "device %d thread %d\n", "device %d thread %240d\n"
    ".global .align 1 .b8 text[21] = {100,101,118,105,99,101,32,37,100,32,116,104,114,101,97,100,32,37,100,10,0};\n",
    ".global .align 1 .b8 wide[24] = {100,101,118,105,99,101,32,37,100,32,116,104,114,101,97,100,32,37,50,52,48,100,10,0};\n",
    saying!("say", "text"),
    saying!("shout", "wide"),
    ".extern .func __assertfail (.param .b64 m, .param .b64 f, .param .b32 l, .param .b64 n, .param .b64 c);\n",
    // "never", "file", "wrong"
    ".global .align 1 .b8 never[6] = {110,101,118,101,114,0};\n",
    ".global .align 1 .b8 file[5] = {102,105,108,101,0};\n",
    ".global .align 1 .b8 name[6] = {119,114,111,110,103,0};\n",
    ".visible .entry wrong()\n{\n.reg .b64 %rd<3>;\n",
    "mov.u64 %rd0, never; cvta.global.u64 %rd0, %rd0; mov.u64 %rd1, file; cvta.global.u64 %rd1, %rd1;\n",
    "mov.u64 %rd2, name; cvta.global.u64 %rd2, %rd2;\n",
    "{ .param .b64 m; .param .b64 f; .param .b32 l; .param .b64 n; .param .b64 c; st.param.b64 [m], %rd0;\n",
    "st.param.b64 [f], %rd1; st.param.b32 [l], 7; st.param.b64 [n], %rd2; st.param.b64 [c], 1;\n",
    "call.uni __assertfail, (m, f, l, n, c); }\nret;\n}\n\0"
);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        [] => Kernel::load().and_then(|kernel| order(&kernel)),
        ["--assert"] => Kernel::load().and_then(|kernel| assertion(&kernel)),
        ["--flood", lines] => match lines.parse() {
            Ok(lines) => Kernel::load().and_then(|kernel| flood(&kernel, lines)),
            Err(_) => fail(NAME, 2, USAGE),
        },
        _ => fail(NAME, 2, USAGE),
    };
    result.map_or_else(|message| fail(NAME, 3, &message), |()| ExitCode::SUCCESS)
}

/// A line of the program's own.
fn host(text: &str) {
    let line = CString::new(text).unwrap_or_default();
    // SAFETY: a text that ends with a zero byte.
    unsafe { libc::puts(line.as_ptr()) };
}

struct Kernel {
    cuda: Driver,
    module: Handle,
    function: Handle,
}

impl Kernel {
    fn load() -> Result<Kernel, String> {
        let cuda = Driver::load()?;
        let (mut device, mut context, mut module, mut function) = (0, 0, 0, 0);
        must!(cuda, cuInit(0))?;
        must!(cuda, cuDeviceGet(&mut device, 0))?;
        must!(cuda, cuDevicePrimaryCtxRetain(&mut context, device))?;
        must!(cuda, cuCtxSetCurrent(context))?;
        must!(cuda, cuModuleLoadData(&mut module, KERNEL.as_ptr().cast()))?;
        must!(cuda, cuModuleGetFunction(&mut function, module, c"say".as_ptr()))?;
        Ok(Kernel { cuda, module, function })
    }

    /// Has each thread print a line with `number` in it.
    fn say(&self, number: u32, blocks: u32, threads: u32, stream: Handle) -> Result<(), String> {
        self.launch(self.function, number, blocks, threads, stream)
    }

    fn launch(&self, function: Handle, number: u32, blocks: u32, threads: u32, stream: Handle) -> Result<(), String> {
        let mut parameters = [(&raw const number).cast_mut().cast::<c_void>()];
        let (none, cuda) = (std::ptr::null_mut(), &self.cuda);
        must!(cuda, cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 0, stream, parameters.as_mut_ptr(), none))
    }
}

/// After each call that waits, what was printed before it stands before what is printed after it.
fn order(kernel: &Kernel) -> Result<(), String> {
    let cuda = &kernel.cuda;
    host("before");
    kernel.say(1, 1, 3, 0)?;
    must!(cuda, cuCtxSynchronize())?;
    host("after cuCtxSynchronize");
    let mut stream = 0;
    must!(cuda, cuStreamCreate(&mut stream, 1))?;
    kernel.say(2, 1, 1, stream)?;
    kernel.say(3, 1, 1, stream)?;
    must!(cuda, cuStreamSynchronize(stream))?;
    host("after cuStreamSynchronize");
    let mut event = 0;
    must!(cuda, cuEventCreate(&mut event, 0))?;
    kernel.say(4, 1, 1, stream)?;
    must!(cuda, cuEventRecord(event, stream))?;
    must!(cuda, cuEventSynchronize(event))?;
    host("after cuEventSynchronize");
    let (mut memory, mut word) = (0, 0u32);
    must!(cuda, cuMemAlloc_v2(&mut memory, 4))?;
    must!(cuda, cuMemsetD8_v2(memory, 0, 4))?;
    kernel.say(5, 1, 1, 0)?;
    must!(cuda, cuMemcpyDtoH_v2((&raw mut word).cast(), memory, 4))?;
    host("after cuMemcpyDtoH");
    // These need not wait for the guest's sake, and natively wait for the kernel.
    kernel.say(6, 1, 1, 0)?;
    must!(cuda, cuMemcpyHtoD_v2(memory, (&raw const word).cast(), 4))?;
    host("after cuMemcpyHtoD");
    kernel.say(7, 1, 1, 0)?;
    must!(cuda, cuMemFree_v2(memory))?;
    host("after cuMemFree");
    kernel.say(8, 1, 2, 0)?;
    must!(cuda, cuCtxSynchronize())?;
    must!(cuda, cuModuleUnload(kernel.module))?;
    host("end");
    Ok(())
}

/// The answers are the program's lines.
fn assertion(kernel: &Kernel) -> Result<(), String> {
    let (cuda, none) = (&kernel.cuda, std::ptr::null_mut());
    let mut function = 0;
    must!(cuda, cuModuleGetFunction(&mut function, kernel.module, c"wrong".as_ptr()))?;
    kernel.say(1, 1, 1, 0)?;
    must!(cuda, cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, 0, none, none))?;
    // SAFETY: no arguments.
    let answer = unsafe { cuda.cuCtxSynchronize() };
    host(&format!("cuCtxSynchronize: {answer}"));
    Ok(())
}

fn flood(kernel: &Kernel, lines: u32) -> Result<(), String> {
    host("before");
    let cuda = &kernel.cuda;
    let mut function = 0;
    must!(cuda, cuModuleGetFunction(&mut function, kernel.module, c"shout".as_ptr()))?;
    kernel.launch(function, 1, lines.div_ceil(BLOCK), BLOCK, 0)?;
    must!(cuda, cuCtxSynchronize())?;
    host("after");
    Ok(())
}
