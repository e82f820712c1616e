//! What a spec says, once read and checked. Printers rely on everything here without looking again.

use proc_macro2::Span;

/// A whole spec file.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Name of the status type in the printed text (`CUresult`).
    pub status: String,
    /// Constant returned for a null or wrong argument.
    pub invalid: String,
    /// Constant returned where the session is dead.
    pub gone: String,
    /// First and last number that a message here may have: no two APIs share one.
    pub numbers: (u16, u16),
    /// First and last number that a kind of handle here may have; `None` where the API needs none.
    pub kind_numbers: Option<(u8, u8)>,
    /// The guest's functions are all written by hand: only senders are printed.
    pub guest_by_hand: bool,
    /// What a refused call answers is settled by the guest's `order` (`#![order]`).
    pub has_order: bool,
    /// The API knows no current context: no call needs one.
    pub no_context: bool,
    /// Named numbers.
    pub constants: Vec<Constant>,
    /// Other names for numbers (`CUdeviceptr` for `u64`).
    pub aliases: Vec<Alias>,
    /// Kinds of handles.
    pub kinds: Vec<Kind>,
    /// Plain structs.
    pub structs: Vec<Struct>,
    /// Calls that have a message, in the file's order.
    pub calls: Vec<Call>,
    /// Functions of the host's library that hand-written forwarders use.
    pub driver: Vec<DriverFunction>,
    /// Exported functions that need no message of their own.
    pub locals: Vec<Local>,
}

/// A name and where it stands.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Its place in the file.
    pub span: Span,
}

/// `#[local] fn NAME();`
#[derive(Clone, Debug)]
pub struct Local {
    /// Lines of its documentation.
    pub docs: Vec<String>,
    /// Its name.
    pub named: Named,
}

/// `const NAME: TYPE = VALUE;`
#[derive(Clone, Debug)]
pub struct Constant {
    /// Lines of its documentation.
    pub docs: Vec<String>,
    /// Name.
    pub name: String,
    /// Type as printed.
    pub number: Number,
    /// Value as printed.
    pub value: String,
    /// It is one of the API's statuses: its type is the status type.
    pub is_status: bool,
}

/// `type NAME = NUMBER;`
#[derive(Clone, Debug)]
pub struct Alias {
    /// Lines of its documentation.
    pub docs: Vec<String>,
    /// Name.
    pub name: String,
    /// What it stands for.
    pub number: Number,
    /// `#[renumbered]`: the guest's numbers are not the host's (`crate::device` of the guest library knows both).
    pub is_renumbered: bool,
}

/// `#[handle(NUMBER, error = …)] type NAME;`
#[derive(Clone, Debug)]
pub struct Kind {
    /// Lines of its documentation.
    pub docs: Vec<String>,
    /// Name of the C type.
    pub name: String,
    /// Number of the kind in a handle, 1–255.
    pub number: u8,
    /// Constant returned for a handle that is none of this kind.
    pub error: String,
    /// Largest number that is no handle but has a meaning of its own and travels as it is (0 is the null handle); `None` where
    /// every number must be a handle.
    pub plain_up_to: Option<u64>,
    /// Objects belong to the context that is current when they are made, and end with it.
    pub in_context: bool,
}

/// A struct of numbers, arrays of numbers and structs above.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Lines of its documentation.
    pub docs: Vec<String>,
    /// Name.
    pub name: String,
    /// Fields in order, without gaps.
    pub fields: Vec<Field>,
    /// Size in bytes.
    pub bytes: usize,
    /// Alignment in bytes.
    pub align: usize,
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Lines of its documentation.
    pub docs: Vec<String>,
    /// Name.
    pub name: String,
    /// What one element is.
    pub element: Element,
    /// Elements, where it is an array.
    pub count: Option<usize>,
}

/// What a value consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// A number, with the name the spec gives its type.
    Number {
        /// Name as spelled.
        name: String,
        /// What it is.
        number: Number,
    },
    /// A struct, by its place in [`Spec::structs`].
    Struct(usize),
}

/// A number's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// 8 bits.
    U8,
    /// 16 bits.
    U16,
    /// 32 bits.
    U32,
    /// 64 bits.
    U64,
    /// 8 bits, signed.
    I8,
    /// 16 bits, signed.
    I16,
    /// 32 bits, signed.
    I32,
    /// 64 bits, signed.
    I64,
    /// `size_t`: 64 bits.
    Usize,
    /// Single precision.
    F32,
}

impl Number {
    /// Bytes on the wire and in memory; also the alignment.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Number::U8 | Number::I8 => 1,
            Number::U16 | Number::I16 => 2,
            Number::U32 | Number::I32 | Number::F32 => 4,
            Number::U64 | Number::I64 | Number::Usize => 8,
        }
    }

    /// The type's name in Rust.
    #[must_use]
    pub fn rust(self) -> &'static str {
        match self {
            Number::U8 => "u8",
            Number::U16 => "u16",
            Number::U32 => "u32",
            Number::U64 => "u64",
            Number::I8 => "i8",
            Number::I16 => "i16",
            Number::I32 => "i32",
            Number::I64 => "i64",
            Number::Usize => "usize",
            Number::F32 => "f32",
        }
    }

    /// The type by its Rust name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Number> {
        const ALL: [Number; 10] = [
            Number::U8,
            Number::U16,
            Number::U32,
            Number::U64,
            Number::I8,
            Number::I16,
            Number::I32,
            Number::I64,
            Number::Usize,
            Number::F32,
        ];
        ALL.into_iter().find(|number| number.rust() == name)
    }
}

/// A call with a message.
#[derive(Clone, Debug)]
pub struct Call {
    /// Lines of its documentation.
    pub docs: Vec<String>,
    /// Name: of the exported function and of the host library's symbol, where it is not by hand.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// Number of the message.
    pub number: u16,
    /// The caller waits for the reply.
    pub waits: bool,
    /// The caller waits for the status, or does not, as it likes with each message.
    pub either: bool,
    /// Sleeps in the driver: runs on a thread of its own, and its reply brings the status of failed posted calls.
    pub blocks: bool,
    /// Guest code is written by hand (a sender is printed all the same).
    pub guest_by_hand: bool,
    /// Host code is written by hand.
    pub host_by_hand: bool,
    /// Needs no current context on the host.
    pub no_context: bool,
    /// May disturb a recording: the guest refuses it while one forbids that.
    pub disturbs: bool,
    /// The reply's values are there also where the status is an error.
    pub always: bool,
    /// Driver version that brought the call, as `cuDriverGetVersion` counts; 0 for always.
    pub since: u32,
    /// Also exported as `…_ptsz`: a null stream is the thread's own.
    pub ptsz: bool,
    /// Also exported as `…_ptds`, which is this sibling with the thread's own stream as last argument.
    pub ptds: Option<Named>,
    /// Further exported names for the same thing; tried on the host too where the name itself is missing.
    pub aliases: Vec<Named>,
    /// Arguments in order.
    pub arguments: Vec<Argument>,
}

/// One argument.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Name.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// What it is and which way it goes.
    pub role: Role,
}

/// What an argument is and which way it goes.
#[derive(Clone, Debug)]
pub enum Role {
    /// A number that travels.
    Number {
        /// Name of the type as spelled.
        name: String,
        /// What it is.
        number: Number,
        /// Device memory that the call touches from this address on: a printed expression of its bytes.
        device: Option<String>,
        /// The device address must be a multiple of this; the guest refuses another one.
        aligned: u64,
    },
    /// A number that is the count of a buffer's elements; it travels as the buffer's length.
    Length {
        /// Name of the type as spelled.
        name: String,
        /// What it is.
        number: Number,
        /// The first buffer, or list of handles, that it counts, by place.
        of: usize,
    },
    /// A struct that travels, by place in [`Spec::structs`].
    Struct(usize),
    /// A handle, by place in [`Spec::kinds`].
    Handle {
        /// Kind.
        kind: usize,
        /// The number ends with the call.
        ends: bool,
    },
    /// A handle of a kind that only hand-written code checks.
    AnyHandle,
    /// A handle that the guest makes.
    New {
        /// Kind.
        kind: usize,
        /// The argument whose object it ends with, by place.
        parent: Option<usize>,
        /// It may be null: nobody wants the object.
        optional: bool,
        /// The host's function returns the object, and its status through a pointer that it takes last.
        returned: bool,
    },
    /// Handles of one kind, in the frame itself.
    Handles {
        /// Kind.
        kind: usize,
        /// The argument with their count, by place.
        length: usize,
    },
    /// A value that comes back.
    Out {
        /// What it is.
        element: Element,
        /// The pointer may be null.
        optional: bool,
    },
    /// A run of bytes that comes back, as long as the host makes it (by hand on both sides).
    OutRun,
    /// Bytes from the guest, of a length that another argument gives.
    Input {
        /// What one element is.
        element: Element,
        /// The argument with the count, by place.
        length: usize,
    },
    /// Bytes to the guest, of a length that another argument gives.
    Output {
        /// What one element is.
        element: Element,
        /// The argument with the count, by place.
        length: usize,
    },
    /// Bytes in the frame itself; the alignment is 1 or 16 (by hand on both sides).
    Run {
        /// Alignment.
        align: usize,
    },
    /// A string that ends with NUL.
    Text,
}

/// `#[driver] fn …`: a function of the host's library, C types as spelled.
#[derive(Clone, Debug)]
pub struct DriverFunction {
    /// Name of the symbol.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// Names and C types of the arguments, as printed.
    pub arguments: Vec<(String, String)>,
    /// C type of the result, as printed; `None` for a status.
    pub result: Option<String>,
    /// Older symbols of the same prototype, tried where the name itself is missing.
    pub aliases: Vec<Named>,
}
