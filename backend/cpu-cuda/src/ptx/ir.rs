//! A checked program: flat lists of typed instructions.
//!
//! Every instruction has the same shape (guard, operation, results, sources), so that analyses need not know the
//! operations. Whoever builds these keeps: register numbers are below `Body::regs.len()`, labels below
//! `Body::labels.len()`, slots below `Body::slots.len()`, and the sources of each operation have the number and
//! types its decoder promises.

use crate::engine::{Boundary, FunctionInfo, Geometry, GlobalInfo, Texel, TextureQuery};
use crate::ptx::types::{AtomicOp, Compare, Logic, Rounding, Space, Special, Type};

/// Index of a register in [`Body::regs`].
pub type Reg = u32;

/// A source operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A register.
    Reg(Reg),
    /// The negation of a predicate register.
    NotReg(Reg),
    /// A constant: the bits of a value of the type the operation takes there.
    Int(u64),
    /// A special register.
    Special(Special),
    /// Address of a module variable plus an offset.
    Global(u32, i64),
    /// Address, in shared space, of a shared variable plus an offset.
    Shared(u32, i64),
    /// Address, in local space, in the function's frame.
    Local(i64),
    /// The generic form of the same.
    Window(i64),
    /// Byte offset in the function's own parameters (of a kernel: also an address in param space).
    In(i64),
    /// Byte offset in the function's own results.
    Out(i64),
    /// Byte offset in a call-site parameter.
    Slot(u32, i64),
    /// Pointer to a function of the program.
    Function(u32),
    /// A `.texref`.
    Texture(u32),
    /// A `.surfref`.
    Surface(u32),
}

/// Modifiers of floating-point arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Float {
    /// Subnormal inputs and results are zero.
    pub ftz: bool,
    /// The result is clamped to 0..1 (NaN to 0), or the integer sum saturates.
    pub sat: bool,
    /// `.relu`: negative results and NaN become 0.
    pub relu: bool,
    /// `.NaN` of min and max: NaN wins.
    pub nan: bool,
    /// `.xorsign.abs` of min and max: of the magnitudes, with the product's sign.
    pub xorsign: bool,
    /// Rounding.
    pub round: Rounding,
    /// `.approx` (or `.full`).
    pub approx: bool,
}

impl Default for Float {
    fn default() -> Float {
        Float {
            ftz: false,
            sat: false,
            relu: false,
            nan: false,
            xorsign: false,
            round: Rounding::Nearest,
            approx: false,
        }
    }
}

/// Register-to-register arithmetic; sources have the type of the instruction unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Alu {
    Add,
    Sub,
    /// Low half of the product; of floats: the product.
    Mul,
    MulHi,
    /// Result twice as wide.
    MulWide,
    Mul24,
    Mul24Hi,
    Mad,
    MadHi,
    MadWide,
    Mad24,
    Mad24Hi,
    Fma,
    Div,
    Rem,
    Min,
    Max,
    /// Three-input minimum and maximum.
    Min3,
    Max3,
    Abs,
    Neg,
    And,
    Or,
    Xor,
    Not,
    Cnot,
    Shl,
    Shr,
    /// Funnel shifts: src low, high, count.
    ShfLeft {
        wrap: bool,
    },
    ShfRight {
        wrap: bool,
    },
    Bfe,
    Bfi,
    Bmsk {
        wrap: bool,
    },
    Szext {
        wrap: bool,
    },
    Brev,
    /// Results of these four are `.u32`.
    Popc,
    Clz,
    Bfind {
        shift: bool,
    },
    Fns,
    Sad,
    Rcp,
    Sqrt,
    Rsqrt,
    Sin,
    Cos,
    Ex2,
    Lg2,
    Tanh,
    Copysign,
    /// With carry in and out through the register in `Body::carry`.
    AddCarry {
        take: bool,
        give: bool,
    },
    SubCarry {
        take: bool,
        give: bool,
    },
    MadLoCarry {
        take: bool,
        give: bool,
    },
    MadHiCarry {
        take: bool,
        give: bool,
    },
}

/// Property tested by `testp`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Testp {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// Byte-permute modes of `prmt`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Prmt {
    Index,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

/// A conversion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cvt {
    /// Result type.
    pub to: Type,
    /// Source type.
    pub from: Type,
    /// Rounding; of float to integer and float to same float: to an integral value if `integral`.
    pub round: Rounding,
    /// Round to an integral value.
    pub integral: bool,
    /// `.ftz`.
    pub ftz: bool,
    /// `.sat`.
    pub sat: bool,
    /// `.relu`.
    pub relu: bool,
}

impl Cvt {
    /// Takes an integer of type `ty` to whatever is wider, by its own sign.
    pub fn extend(ty: Type) -> Cvt {
        Cvt { to: ty, from: ty, round: Rounding::Nearest, integral: false, ftz: false, sat: false, relu: false }
    }
}

/// What a plain memory access is besides plain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Access {
    /// State space.
    pub space: Space,
    /// Type of an element.
    pub ty: Type,
    /// Added to the address.
    pub offset: i64,
    /// Volatile, relaxed, acquire or release: not to be merged or moved.
    pub strong: bool,
}

/// Modes of `shfl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Shfl {
    Up,
    Down,
    Bfly,
    Idx,
}

/// What lanes of a warp do together. Sources: values, then the member mask (absent where `legacy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Collective {
    /// a, b, c → d, p
    Shfl(Shfl),
    /// p → p
    VoteAll,
    VoteAny,
    VoteUni,
    /// p → mask
    Ballot,
    /// a → mask
    MatchAny {
        bits: u32,
    },
    /// a → mask, p
    MatchAll {
        bits: u32,
    },
    Redux(Redux),
    Activemask,
    WarpSync,
    /// → p (elects the lowest lane), leader
    Elect,
    /// registers of A, of B, of C → of D
    Mma(Mma),
    /// address → fragments of this many matrices of 8 x 8 halves
    LoadMatrix {
        count: u8,
        transposed: bool,
        generic: bool,
        offset: i64,
    },
    /// fragments of this many matrices of 8 x 8 halves → the row that this lane stores, four registers
    StoreMatrix {
        count: u8,
        transposed: bool,
    },
    /// fragment of a matrix of 8 x 8 halves → fragment of the transposed one
    TransposeMatrix,
}

impl Collective {
    /// Lanes exchange registers of matrices.
    pub fn is_of_matrices(&self) -> bool {
        use Collective::*;
        matches!(self, Mma(_) | LoadMatrix { .. } | StoreMatrix { .. } | TransposeMatrix)
    }
}

/// What a matrix is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the PTX manual
pub enum Element {
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    E4m3,
    E5m2,
    S4,
    U4,
    S8,
    U8,
    S32,
}

impl Element {
    /// The element type called `name` (no dot).
    pub fn from_name(name: &str) -> Option<Element> {
        use Element::*;
        Some(match name {
            "f16" => F16,
            "bf16" => Bf16,
            "tf32" => Tf32,
            "f32" => F32,
            "f64" => F64,
            "e4m3" => E4m3,
            "e5m2" => E5m2,
            "s4" => S4,
            "u4" => U4,
            "s8" => S8,
            "u8" => U8,
            "s32" => S32,
            _ => return None,
        })
    }

    /// Width in bits.
    pub fn bits(self) -> usize {
        use Element::*;
        match self {
            S4 | U4 => 4,
            E4m3 | E5m2 | S8 | U8 => 8,
            F16 | Bf16 => 16,
            Tf32 | F32 | S32 => 32,
            F64 => 64,
        }
    }

    /// The PTX type of the registers that hold them.
    pub fn register(self) -> Type {
        match self {
            Element::F64 => Type::F64,
            Element::F32 => Type::F32,
            _ => Type::B32,
        }
    }
}

/// Which lane holds which element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragments {
    /// As the ISA says for `mma`.
    Mma,
    /// As it says for `mma.m8n8k4` of halves: four products, one for each quad pair. A lies in columns, B in rows.
    Quads {
        /// A lies in columns.
        a_columns: bool,
        /// B lies in rows.
        b_rows: bool,
    },
    /// `wmma`, where it is ours to say: a lane holds consecutive elements of the matrix, row by row.
    Wmma,
}

/// One of the matrices of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Side {
    A,
    B,
    C,
    D,
}

/// A matrix product of a warp: A of m rows and k columns times B of k rows and n columns, added to C, gives D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mma {
    /// Rows of A, at most 32.
    pub m: usize,
    /// Columns of B, at most 32.
    pub n: usize,
    /// At most 64.
    pub k: usize,
    /// Elements of A.
    pub a: Element,
    /// Elements of B, of the size of A's.
    pub b: Element,
    /// Elements of C.
    pub c: Element,
    /// Elements of D.
    pub d: Element,
    /// Where they lie.
    pub fragments: Fragments,
    /// `.satfinite`.
    pub clamp: bool,
}

impl Mma {
    /// Type of the elements of a matrix.
    pub fn element(&self, side: Side) -> Element {
        match side {
            Side::A => self.a,
            Side::B => self.b,
            Side::C => self.c,
            Side::D => self.d,
        }
    }

    /// Elements of a matrix that a lane holds.
    pub fn held(&self, side: Side) -> usize {
        let products = if matches!(self.fragments, Fragments::Quads { .. }) { 4 } else { 1 };
        products
            * match side {
                Side::A => self.m * self.k,
                Side::B => self.k * self.n,
                Side::C | Side::D => self.m * self.n,
            }
            / 32
    }

    /// Registers that these fill.
    pub fn used(&self, side: Side) -> usize {
        let bits = self.element(side).bits();
        (self.held(side) * bits).div_ceil(bits.max(32))
    }

    /// Registers that the instruction names: `wmma` has eight for A and B of halves, and in some shapes they hold
    /// everything twice.
    pub fn registers(&self, side: Side) -> usize {
        let halves = self.element(side) == Element::F16 && matches!(side, Side::A | Side::B);
        if halves && self.fragments == Fragments::Wmma { 8 } else { self.used(side) }
    }

    /// Words of 64 bits that these fill; registers of 32 bits lie in pairs.
    pub fn words(&self, side: Side) -> usize {
        (self.held(side) * self.element(side).bits()).div_ceil(64)
    }
}

/// Operation of `redux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Redux {
    Add,
    MinU,
    MaxU,
    MinS,
    MaxS,
    And,
    Or,
    Xor,
}

/// What a block barrier does. Sources: barrier number, then the thread count where `counted`, then the predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// `bar.arrive`: does not wait.
    pub arrive: bool,
    /// A thread count is given.
    pub counted: bool,
    /// `bar.red`.
    pub reduce: Option<BarrierReduce>,
    /// `barrier.cluster`: all blocks of the cluster; no number.
    pub cluster: bool,
}

/// Operation of `bar.red`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BarrierReduce {
    Popc,
    And,
    Or,
}

/// Format of an 8-bit float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the PTX manual
pub enum Float8 {
    E4m3,
    E5m2,
}

/// Operation on a barrier object in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mbarrier {
    /// count →
    Init,
    /// →
    Invalidate,
    /// count → state before
    Arrive {
        /// The phases to come expect so many fewer.
        drop: bool,
    },
    /// bytes →; more are expected in this phase
    Expect,
    /// bytes →; so many of those expected are there
    Complete,
    /// state → has its phase ended?
    Test,
    /// parity → has the phase of that parity ended?
    TestParity,
    /// state → arrivals it still waited for; the object is not looked at
    Pending,
}

/// Functions the engine itself provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Builtin {
    Vprintf,
    Assertfail,
    Malloc,
    Free,
}

/// Whom a call calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Callee {
    /// A function of the program.
    Function(u32),
    /// The engine.
    Builtin(Builtin),
    /// The function the first source points at; of this signature.
    Pointer {
        /// Index in [`Program::signatures`].
        signature: u32,
    },
}

/// A texture fetch; sources: handle, layer if layered, coordinates, then level or gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tex {
    /// Shape.
    pub geometry: Geometry,
    /// Coordinates are `.f32`.
    pub float_coordinates: bool,
    /// `.level` is given.
    pub level: bool,
    /// `.grad` is given.
    pub gradient: bool,
    /// `tld4` component.
    pub gather: Option<u8>,
    /// Result type.
    pub texel: Texel,
}

/// A surface access; sources: handle, layer if layered, coordinates, then the stored elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surf {
    /// Shape.
    pub geometry: Geometry,
    /// What happens outside.
    pub boundary: Boundary,
    /// Type of an element.
    pub ty: Type,
    /// Elements.
    pub count: u8,
}

/// A piece of the parameters of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CallPart {
    /// A register, at this offset of the block.
    Reg {
        /// Offset in bytes.
        offset: u32,
        /// Type of the element.
        ty: Type,
    },
    /// Bytes of the caller's local frame.
    Frame {
        /// Offset in bytes.
        offset: u32,
        /// Where in the frame.
        frame: u32,
        /// How many.
        size: u32,
    },
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Nothing.
    Nop,
    /// One value of this width.
    Mov(Type),
    /// Joins the sources, low first, into one value of this type.
    Pack(Type),
    /// Splits a value of this type into the results, low first.
    Unpack(Type),
    /// Arithmetic.
    Alu(Alu, Type, Float),
    /// `testp`.
    Testp(Testp, Type),
    /// Conversion.
    Cvt(Cvt),
    /// `cvt` of two `.f32` into a packed pair: high, low.
    CvtPair(Cvt),
    /// `cvt` into a pair of 8-bit floats: of a pair of `.f16`, or of two `.f32`, high and low. The flag is `.relu`.
    ToFloat8(Float8, bool),
    /// `cvt` of a pair of 8-bit floats into one of `.f16`.
    FromFloat8(Float8, bool),
    /// Comparison into one or two predicates; third source combined by `Logic`.
    Setp(Compare, Option<Logic>, Type, bool),
    /// Comparison into a register of the first type.
    Set(Compare, Option<Logic>, Type, Type, bool),
    /// a, b, predicate.
    Selp(Type),
    /// a, b, c: a if c >= 0. Types of a and c.
    Slct(Type, Type),
    /// Three-input logic by table.
    Lop3(u8),
    /// Byte permutation.
    Prmt(Prmt),
    /// Four 8-bit products: signedness of a, of b.
    Dp4a(bool, bool),
    /// Two 16 by 8-bit products: signedness of a, of b; upper half of b.
    Dp2a(bool, bool, bool),
    /// Reads as many elements as there are results. Source: address.
    Load(Access),
    /// Writes elements. Sources: address, elements.
    Store(Access),
    /// Read-modify-write. Sources: address, operand, for `Cas` the new value too. Result optional.
    Atomic(Access, AtomicOp),
    /// Address of this space to generic, or back if the flag is set.
    Cvta(Space, bool),
    /// Whether a generic address is in this space.
    Isspacep(Space),
    /// `mapa`: address in another block of the cluster. Sources: address, rank. Flag: generic form.
    Mapa(bool),
    /// Jump to a label.
    Bra(u32),
    /// Jump to the label the source selects.
    Brx(Vec<u32>),
    /// Call; argument and result slots. Source: function pointer, if any.
    Call(Callee, Vec<u32>, Vec<u32>),
    /// The same after `inline`: sources are the function pointer, if any, and the registers among the arguments;
    /// destinations the registers among the results.
    Invoke(Callee, Vec<CallPart>, Vec<CallPart>),
    /// Return to the caller; of a kernel: end the thread.
    Ret,
    /// End the thread.
    Exit,
    /// Fail the launch.
    Trap,
    /// `alloca` with its alignment. A size and the stack register → a local address and the stack register.
    Alloca(u32),
    /// `stacksave`, or `stackrestore`: the stack register ↔ a local address.
    StackAddress { back: bool },
    /// Block barrier.
    Barrier(Barrier),
    /// Warp collective; the flag says it is of the old kind without a mask.
    Collective(Collective, bool),
    /// Give other threads a turn.
    Yield,
    /// Memory fence; the flag says it reaches beyond the block.
    Fence(bool),
    /// Texture fetch.
    Tex(Tex),
    /// `txq` (false) or `suq` (true).
    Query(TextureQuery, bool),
    /// `suld`.
    SurfLoad(Surf),
    /// `sust`.
    SurfStore(Surf),
    /// `mbarrier`: on the object at the first source; then what the operation takes.
    Mbarrier(Mbarrier, Access),
    /// `cp.async` of this many bytes: shared address (with offset), global address (with offset), source size.
    CopyAsync(u32, i64, i64),
}

/// `@p` or `@!p`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// The predicate.
    pub reg: Reg,
    /// It must be false.
    pub negated: bool,
}

/// An instruction.
#[derive(Clone, Debug)]
pub struct Inst {
    /// Condition.
    pub guard: Option<Guard>,
    /// Operation.
    pub op: Op,
    /// Results; `None` is the sink `_`.
    pub dst: Vec<Option<Reg>>,
    /// Sources.
    pub src: Vec<Value>,
    /// Line of the text.
    pub line: u32,
}

impl Inst {
    /// Registers it reads, its guard included.
    pub fn uses(&self) -> impl Iterator<Item = Reg> + '_ {
        let sources = self.src.iter().filter_map(|v| match *v {
            Value::Reg(r) | Value::NotReg(r) => Some(r),
            _ => None,
        });
        sources.chain(self.guard.map(|g| g.reg))
    }

    /// Registers it writes.
    pub fn defs(&self) -> impl Iterator<Item = Reg> + '_ {
        self.dst.iter().filter_map(|&r| r)
    }

    /// Control never passes to the next instruction, guard aside.
    pub fn ends_block(&self) -> bool {
        matches!(self.op, Op::Bra(_) | Op::Brx(_) | Op::Ret | Op::Exit | Op::Trap)
    }

    /// The thread gives up the processor here.
    pub fn suspends(&self) -> bool {
        match &self.op {
            Op::Barrier(b) => !b.arrive,
            Op::Collective(..) | Op::Yield => true,
            _ => false,
        }
    }
}

/// A call-site parameter: memory only calls can see.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Bytes.
    pub size: u32,
    /// Alignment.
    pub align: u32,
}

/// A function body.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Types of the registers.
    pub regs: Vec<Type>,
    /// Instructions.
    pub insts: Vec<Inst>,
    /// Label number to index in `insts` (its length: the end).
    pub labels: Vec<u32>,
    /// Call-site parameters.
    pub slots: Vec<Slot>,
    /// Bytes of the local frame.
    pub local_bytes: u32,
    /// The register that holds the carry flag, if any instruction uses it.
    pub carry: Option<Reg>,
    /// The register that holds how many bytes `alloca` has given, behind the local frame, if any does.
    pub stack: Option<Reg>,
}

/// Sizes of parameters, what makes two functions callable through one pointer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// Size and alignment of each parameter.
    pub params: Vec<(u32, u32)>,
    /// The same of each result.
    pub results: Vec<(u32, u32)>,
}

impl Signature {
    /// Byte offsets of items laid out one after the other, and their total.
    pub fn layout(items: &[(u32, u32)]) -> (Vec<u32>, u32) {
        let mut end = 0u32;
        let offsets = items
            .iter()
            .map(|&(size, align)| {
                let at = end.next_multiple_of(align.max(1));
                end = at.saturating_add(size);
                at
            })
            .collect();
        (offsets, end)
    }
}

/// A function with a body.
#[derive(Clone, Debug)]
pub struct Function {
    /// Index in [`Program::signatures`].
    pub signature: u32,
    /// Its code.
    pub body: Body,
    /// Its address is taken somewhere.
    pub address_taken: bool,
}

/// A `.shared` variable.
#[derive(Clone, Copy, Debug)]
pub struct SharedVar {
    /// Bytes; 0 for `.extern` ones, which begin where the dynamic memory does.
    pub size: u32,
    /// Alignment.
    pub align: u32,
    /// `.extern .shared x[]`.
    pub dynamic: bool,
}

/// A checked module.
pub struct Program {
    /// What the API sees of `bodies`, at the same indices.
    pub functions: Vec<FunctionInfo>,
    /// Functions.
    pub bodies: Vec<Function>,
    /// Signatures of functions and indirect calls.
    pub signatures: Vec<Signature>,
    /// Variables in device memory.
    pub globals: Vec<GlobalInfo>,
    /// Shared variables.
    pub shared: Vec<SharedVar>,
    /// `.texref` names.
    pub textures: Vec<String>,
    /// `.surfref` names.
    pub surfaces: Vec<String>,
    /// The lowest `.target` of the parts.
    pub oldest_target: u32,
}

/// The address `value + add`, for values that are addresses.
pub fn offset_value(value: Value, add: i64) -> Option<Value> {
    Some(match value {
        Value::Global(n, at) => Value::Global(n, at.wrapping_add(add)),
        Value::Shared(n, at) => Value::Shared(n, at.wrapping_add(add)),
        Value::Slot(n, at) => Value::Slot(n, at.wrapping_add(add)),
        Value::Local(at) => Value::Local(at.wrapping_add(add)),
        Value::Window(at) => Value::Window(at.wrapping_add(add)),
        Value::In(at) => Value::In(at.wrapping_add(add)),
        Value::Out(at) => Value::Out(at.wrapping_add(add)),
        _ => return None,
    })
}
