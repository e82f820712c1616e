//! Any function of the library by its name, with arguments as the C calling convention of x86-64 passes integers and
//! pointers: so that one program can call all of them, and give each what is wrong.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::sync::Mutex;

use crate::driver::text_of;

/// An argument: a number, or the address of a place.
pub trait Argument {
    /// The register's content.
    fn word(self) -> u64;
}

macro_rules! numbers {
    ($($kind:ty),*) => {
        $(impl Argument for $kind {
            #[allow(clippy::cast_sign_loss, reason = "a register holds bits")]
            fn word(self) -> u64 {
                self as u64
            }
        })*
    };
}

numbers!(u8, u16, u32, u64, usize, i32, i64);

impl<T> Argument for &mut T {
    fn word(self) -> u64 {
        std::ptr::from_mut(self) as u64
    }
}

impl<T> Argument for &T {
    fn word(self) -> u64 {
        std::ptr::from_ref(self) as u64
    }
}

impl<T> Argument for *const T {
    fn word(self) -> u64 {
        self as u64
    }
}

impl<T> Argument for *mut T {
    fn word(self) -> u64 {
        self as u64
    }
}

/// The library, and where lines go.
pub struct Any {
    library: libloading::Library,
    found: Mutex<HashMap<String, usize>>,
    group: Mutex<&'static str>,
}

/// What a call of a function that is not there answers.
const ABSENT: i32 = -1;
/// Most arguments.
pub const MOST: usize = 12;

type Function = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> i32;

impl Any {
    /// Loads `libcuda.so.1`.
    ///
    /// # Errors
    /// The loader's words.
    pub fn load() -> Result<Any, String> {
        // SAFETY: a CUDA library's initialisers run when it is loaded, as in every CUDA program.
        let library = unsafe { libloading::Library::new("libcuda.so.1") }.map_err(|error| error.to_string())?;
        Ok(Any { library, found: Mutex::default(), group: Mutex::new("start") })
    }

    /// Address of a function; 0 where it is not there.
    ///
    /// # Panics
    /// For a name with a zero in it, here and below.
    pub fn find(&self, name: &str) -> usize {
        let mut found = self.found.lock().expect("no panic under it");
        if let Some(address) = found.get(name) {
            return *address;
        }
        let text = CString::new(name).expect("a name");
        // SAFETY: the symbol is only taken as an address here.
        let symbol = unsafe { self.library.get::<*mut c_void>(text.as_bytes_with_nul()) };
        let address = symbol.map_or(0, |symbol| *symbol as usize);
        found.insert(name.to_owned(), address);
        address
    }

    /// Calls a function.
    ///
    /// # Panics
    /// For more arguments than [`MOST`].
    pub fn call(&self, name: &str, arguments: &[u64]) -> i32 {
        let address = self.find(name);
        if address == 0 {
            return ABSENT;
        }
        assert!(arguments.len() <= MOST, "{name} has too many arguments");
        let mut a = [0; MOST];
        a[..arguments.len()].copy_from_slice(arguments);
        // SAFETY: every function of the API takes integers and pointers and answers with an integer; those that take fewer do not
        // look at the rest. What the arguments mean is the API's own affair.
        unsafe {
            let function: Function = std::mem::transmute(address);
            function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11])
        }
    }

    /// A status by the library's own name for it.
    #[must_use]
    pub fn name(&self, status: i32) -> String {
        let mut text: *const c_char = std::ptr::null();
        if status == ABSENT {
            return "absent".to_owned();
        }
        if self.call("cuGetErrorName", &[status.word(), (&mut text).word()]) != 0 {
            return format!("error {status}");
        }
        format!("{} ({status})", text_of(text))
    }

    /// Begins a group of lines.
    ///
    /// # Panics
    /// Where a thread panicked while it printed, here and below.
    pub fn group(&self, name: &'static str) {
        *self.group.lock().expect("no panic under it") = name;
    }

    /// Prints a line.
    ///
    /// # Panics
    /// As [`Any::group`].
    pub fn say(&self, what: &str, value: impl std::fmt::Display) {
        println!("{}: {what}: {value}", self.group.lock().expect("no panic under it"));
    }

    /// Prints a call's answer, and returns it.
    pub fn told(&self, what: &str, status: i32) -> i32 {
        self.say(what, self.name(status));
        status
    }
}

/// `cu!(any, cuCtxSynchronize())`: makes a call; its status.
#[macro_export]
macro_rules! cu {
    ($any:expr, $name:ident($($argument:expr),* $(,)?)) => {
        $any.call(stringify!($name), &[$($crate::any::Argument::word($argument)),*])
    };
}

/// The same, and prints a line: what was done, what it answered.
#[macro_export]
macro_rules! tell {
    ($any:expr, $what:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let status = $crate::cu!($any, $name($($argument),*));
        $any.told(&format!("{}{}{}", stringify!($name), if $what.is_empty() { "" } else { ", " }, $what), status)
    }};
}
