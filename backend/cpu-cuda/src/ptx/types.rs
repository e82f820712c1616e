//! The words of PTX that are shared by parser, checker and code generator: types, spaces, special registers.

/// A PTX type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are those of the PTX manual
pub enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    U16x2,
    S16x2,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    Tf32,
    F64,
}

impl Type {
    /// The type called `name` (no dot).
    pub fn from_name(name: &str) -> Option<Type> {
        use Type::*;
        Some(match name {
            "pred" => Pred,
            "b8" => B8,
            "b16" => B16,
            "b32" => B32,
            "b64" => B64,
            "b128" => B128,
            "u8" => U8,
            "u16" => U16,
            "u32" => U32,
            "u64" => U64,
            "s8" => S8,
            "s16" => S16,
            "s32" => S32,
            "s64" => S64,
            "u16x2" => U16x2,
            "s16x2" => S16x2,
            "f16" => F16,
            "f16x2" => F16x2,
            "bf16" => Bf16,
            "bf16x2" => Bf16x2,
            "f32" => F32,
            "tf32" => Tf32,
            "f64" => F64,
            _ => return None,
        })
    }

    /// Width in bits; a predicate counts as 8.
    pub fn bits(self) -> u32 {
        use Type::*;
        match self {
            Pred | B8 | U8 | S8 => 8,
            B16 | U16 | S16 | F16 | Bf16 => 16,
            B32 | U32 | S32 | U16x2 | S16x2 | F16x2 | Bf16x2 | F32 | Tf32 => 32,
            B64 | U64 | S64 | F64 => 64,
            B128 => 128,
        }
    }

    /// Width in bytes.
    pub fn bytes(self) -> u32 {
        self.bits() / 8
    }

    /// `.s8` to `.s64` and `.s16x2`.
    pub fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64 | Type::S16x2)
    }

    /// A floating-point type, of any width, packed ones included.
    pub fn is_float(self) -> bool {
        use Type::*;
        matches!(self, F16 | F16x2 | Bf16 | Bf16x2 | F32 | Tf32 | F64)
    }

    /// `.u8` to `.s64`: an integer with a sign or none.
    pub fn is_integer(self) -> bool {
        use Type::*;
        matches!(self, U8 | U16 | U32 | U64 | S8 | S16 | S32 | S64)
    }
}

/// A state space an instruction names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Space {
    Generic,
    Global,
    Const,
    Shared,
    /// Shared memory of any block of the cluster.
    SharedCluster,
    Local,
    Param,
}

/// A special register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    ClusterId(u8),
    NclusterId(u8),
    ClusterCtaid(u8),
    ClusterNctaid(u8),
    ClusterCtaRank,
    ClusterNctaRank,
    IsExplicitCluster,
    LaneId,
    WarpId,
    NwarpId,
    SmId,
    NsmId,
    GridId,
    LanemaskEq,
    LanemaskLe,
    LanemaskLt,
    LanemaskGe,
    LanemaskGt,
    Clock,
    ClockHi,
    Clock64,
    GlobalTimer,
    GlobalTimerLo,
    GlobalTimerHi,
    DynamicSmemSize,
    TotalSmemSize,
    /// `%envreg1` and `%envreg2`: high and low half of the address of the grid's workspace, where cooperative groups keep
    /// the counter of their grid barrier (at byte 4); 0 unless the launch is cooperative.
    GridWorkspaceHigh,
    /// See there.
    GridWorkspaceLow,
    /// Counters and environment registers nobody sets: 0.
    Zero32,
    /// The same, 64 bits.
    Zero64,
}

impl Special {
    /// The special register called `name` (with its `%`), with component 0–2 where it is a vector.
    pub fn from_name(name: &str, component: Option<u8>) -> Option<Special> {
        use Special::*;
        if let Some(c) = component {
            return Some(match name {
                "%tid" => Tid(c),
                "%ntid" => Ntid(c),
                "%ctaid" => Ctaid(c),
                "%nctaid" => Nctaid(c),
                "%clusterid" => ClusterId(c),
                "%nclusterid" => NclusterId(c),
                "%cluster_ctaid" => ClusterCtaid(c),
                "%cluster_nctaid" => ClusterNctaid(c),
                _ => return None,
            });
        }
        Some(match name {
            "%cluster_ctarank" => ClusterCtaRank,
            "%cluster_nctarank" => ClusterNctaRank,
            "%is_explicit_cluster" => IsExplicitCluster,
            "%laneid" => LaneId,
            "%warpid" => WarpId,
            "%nwarpid" => NwarpId,
            "%smid" => SmId,
            "%nsmid" => NsmId,
            "%gridid" => GridId,
            "%lanemask_eq" => LanemaskEq,
            "%lanemask_le" => LanemaskLe,
            "%lanemask_lt" => LanemaskLt,
            "%lanemask_ge" => LanemaskGe,
            "%lanemask_gt" => LanemaskGt,
            "%clock" => Clock,
            "%clock_hi" => ClockHi,
            "%clock64" => Clock64,
            "%globaltimer" => GlobalTimer,
            "%globaltimer_lo" => GlobalTimerLo,
            "%globaltimer_hi" => GlobalTimerHi,
            "%dynamic_smem_size" => DynamicSmemSize,
            "%total_smem_size" | "%aggr_smem_size" => TotalSmemSize,
            "%reserved_smem_offset_begin" | "%reserved_smem_offset_end" | "%reserved_smem_offset_cap" => Zero32,
            "%current_graph_exec" => Zero64,
            "%envreg1" => GridWorkspaceHigh,
            "%envreg2" => GridWorkspaceLow,
            _ => {
                let digits = name.strip_prefix("%envreg").or_else(|| name.strip_prefix("%pm"))?;
                let (digits, wide) = match digits.strip_suffix("_64") {
                    Some(d) => (d, true),
                    None => (digits, false),
                };
                match digits.parse::<u8>() {
                    Ok(n) if n < 32 => {
                        if wide {
                            Zero64
                        } else {
                            Zero32
                        }
                    }
                    _ => return None,
                }
            }
        })
    }
}

/// IEEE rounding direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Towards zero.
    Zero,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
    /// To nearest, ties away from zero (`cvt.rna`).
    Away,
}

/// Comparison of `setp` and `set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

impl Compare {
    /// By its name; `lo`, `ls`, `hi`, `hs` are the unsigned spellings.
    pub fn from_name(name: &str) -> Option<Compare> {
        use Compare::*;
        Some(match name {
            "eq" => Eq,
            "ne" => Ne,
            "lt" | "lo" => Lt,
            "le" | "ls" => Le,
            "gt" | "hi" => Gt,
            "ge" | "hs" => Ge,
            "equ" => Equ,
            "neu" => Neu,
            "ltu" => Ltu,
            "leu" => Leu,
            "gtu" => Gtu,
            "geu" => Geu,
            "num" => Num,
            "nan" => Nan,
            _ => return None,
        })
    }
}

/// How `setp`/`set` combine the comparison with a predicate, and `barrier.red`/`redux` their inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Logic {
    And,
    Or,
    Xor,
}

/// The operation of `atom` and `red`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AtomicOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
}
