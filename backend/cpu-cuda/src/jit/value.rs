//! Values: registers, constants, addresses and special registers as Cranelift values.

use cranelift_codegen::ir::types::{F32, F64, I8, I32, I64, I128};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData};
use cranelift_frontend::Variable;

use crate::jit::emit::{Emit, field, fixed};
use crate::jit::kinds::{int_kind, kind};
use crate::ptx::ir::{Reg, Value};
use crate::ptx::types::{Special, Type};

impl Emit<'_, '_, '_> {
    /// A constant integer.
    pub fn iconst(&mut self, bits: u32, value: u64) -> ir::Value {
        let masked = if bits >= 64 { value } else { value & ((1 << bits) - 1) };
        self.b.ins().iconst(int_kind(bits.min(64)), masked as i64)
    }

    pub(super) fn zero(&mut self, ty: ir::Type) -> ir::Value {
        match ty {
            F32 => self.b.ins().f32const(0.0),
            F64 => self.b.ins().f64const(0.0),
            I128 => {
                let low = self.b.ins().iconst(I64, 0);
                self.b.ins().uextend(I128, low)
            }
            _ => self.b.ins().iconst(ty, 0),
        }
    }

    pub(super) fn variable(&mut self, reg: Reg) -> Variable {
        match self.variables[reg as usize] {
            Some(variable) => variable,
            None => {
                let variable = self.b.declare_var(self.kinds[reg as usize]);
                self.variables[reg as usize] = Some(variable);
                variable
            }
        }
    }

    /// A register's value, in its own kind.
    pub fn read(&mut self, reg: Reg) -> ir::Value {
        match self.known[reg as usize] {
            Some(value) => value,
            None => {
                let variable = self.variable(reg);
                self.b.use_var(variable)
            }
        }
    }

    pub(super) fn define(&mut self, reg: Reg, value: ir::Value) {
        let variable = self.variable(reg);
        self.b.def_var(variable, value);
    }

    /// Sets a register, from a value of any kind; `signed` says how a narrow integer grows.
    pub fn write_extended(&mut self, dst: Option<Reg>, value: ir::Value, signed: bool) {
        let Some(reg) = dst else { return };
        let mut value = self.coerce(value, self.kinds[reg as usize], signed);
        if self.hoisting {
            self.known[reg as usize] = Some(value);
            return;
        }
        if let Some(keep) = self.select {
            let old = self.read(reg);
            value = self.b.ins().select(keep, value, old);
        }
        self.define(reg, value);
    }

    /// Sets a register.
    pub fn write(&mut self, dst: Option<Reg>, value: ir::Value) {
        self.write_extended(dst, value, false);
    }

    /// Sets a predicate from a comparison's result.
    pub fn write_truth(&mut self, dst: Option<Reg>, value: ir::Value) {
        self.write(dst, value);
    }

    /// The same bits as another kind; narrower: the low ones; wider: extended.
    pub fn coerce(&mut self, value: ir::Value, to: ir::Type, signed: bool) -> ir::Value {
        let from = self.b.func.dfg.value_type(value);
        if from == to {
            return value;
        }
        let as_int = if from.is_float() {
            self.b.ins().bitcast(int_kind(from.bits()), MemFlagsData::new(), value)
        } else {
            value
        };
        let bits = to.bits();
        let int = int_kind(bits);
        let sized = match from.bits().cmp(&bits) {
            std::cmp::Ordering::Equal => as_int,
            std::cmp::Ordering::Greater => self.b.ins().ireduce(int, as_int),
            std::cmp::Ordering::Less if signed => self.b.ins().sextend(int, as_int),
            std::cmp::Ordering::Less => self.b.ins().uextend(int, as_int),
        };
        if to.is_float() { self.b.ins().bitcast(to, MemFlagsData::new(), sized) } else { sized }
    }

    /// A source as an integer of this width.
    pub fn int(&mut self, value: Value, bits: u32) -> ir::Value {
        let raw = match value {
            Value::Reg(reg) => self.read(reg),
            Value::NotReg(reg) => {
                let raw = self.read(reg);
                let truth = self.coerce(raw, I8, false);
                self.b.ins().bxor_imm_u(truth, 1)
            }
            Value::Int(c) if bits <= 64 => return self.iconst(bits, c),
            Value::Int(c) => self.iconst(64, c),
            Value::Special(s) => self.special(s),
            Value::Global(n, at) => {
                let address = self.unit.global_address(n).wrapping_add(at as u64);
                self.iconst(64, address)
            }
            Value::Shared(n, at) => {
                let offset = u64::from(self.unit.shared_offset(n)).wrapping_add(at as u64);
                self.iconst(64, offset)
            }
            Value::Local(at) => self.b.ins().iadd_imm_s(self.thread.frame_offset, at),
            Value::Window(at) => {
                let base = self.iconst(64, crate::engine::LOCAL_WINDOW.wrapping_add(at as u64));
                self.b.ins().iadd(base, self.thread.frame_offset)
            }
            Value::In(at) => self.iconst(64, crate::engine::PARAM_WINDOW.wrapping_add(at as u64)),
            Value::Function(n) => self.iconst(64, crate::engine::FUNCTION_WINDOW + 16 * u64::from(n)),
            Value::Texture(n) => self.binding(self.unit.texture_cell(n)),
            Value::Surface(n) => self.binding(self.unit.surface_cell(n)),
            // Results and call parameters have no address; `inline` has moved those whose address is taken.
            Value::Out(_) | Value::Slot(..) => self.iconst(64, 0),
        };
        self.coerce(raw, int_kind(bits), false)
    }

    pub(super) fn binding(&mut self, cell: u64) -> ir::Value {
        let at = self.iconst(64, cell);
        self.b.ins().load(I64, MemFlagsData::trusted(), at, 0)
    }

    /// A source as a float.
    pub fn float(&mut self, value: Value, ty: ir::Type) -> ir::Value {
        match value {
            Value::Reg(reg) => {
                let raw = self.read(reg);
                self.coerce(raw, ty, false)
            }
            Value::Int(bits) if ty == F32 => self.b.ins().f32const(f32::from_bits(bits as u32)),
            Value::Int(bits) => self.b.ins().f64const(f64::from_bits(bits)),
            other => {
                let raw = self.int(other, ty.bits());
                self.coerce(raw, ty, false)
            }
        }
    }

    /// A source in the kind of its type.
    pub fn source(&mut self, value: Value, ty: Type) -> ir::Value {
        match kind(ty) {
            k @ (F32 | F64) => self.float(value, k),
            k => self.int(value, k.bits()),
        }
    }

    pub(super) fn special(&mut self, special: Special) -> ir::Value {
        let at = |base: i32, n: u8| base + 4 * i32::from(n.min(2));
        let offset = match special {
            Special::Tid(n) => return self.thread.tid[usize::from(n.min(2))],
            Special::Ntid(n) => at(field!(ntid), n),
            Special::Ctaid(n) => at(field!(ctaid), n),
            Special::Nctaid(n) => at(field!(nctaid), n),
            Special::ClusterId(n) => at(field!(cluster_id), n),
            Special::NclusterId(n) => at(field!(cluster_count), n),
            Special::ClusterCtaid(n) => at(field!(cluster_ctaid), n),
            Special::ClusterNctaid(n) => at(field!(cluster_shape), n),
            Special::ClusterCtaRank => field!(cluster_rank),
            Special::ClusterNctaRank => field!(cluster_size),
            Special::IsExplicitCluster => field!(explicit_cluster),
            Special::SmId => field!(sm_id),
            Special::NsmId => field!(nsm_id),
            Special::DynamicSmemSize => field!(dynamic_shared),
            Special::TotalSmemSize => field!(shared_len),
            Special::GridId => return self.b.ins().load(I64, fixed(), self.context, field!(grid_id)),
            Special::GridWorkspaceHigh => field!(grid_workspace) + 4,
            Special::GridWorkspaceLow => field!(grid_workspace),
            Special::Zero32 => return self.iconst(32, 0),
            Special::Zero64 => return self.iconst(64, 0),
            Special::Clock | Special::ClockHi | Special::Clock64 => return self.clock(special, false),
            Special::GlobalTimer | Special::GlobalTimerLo | Special::GlobalTimerHi => return self.clock(special, true),
            _ => return self.lane_special(special),
        };
        self.b.ins().load(I32, fixed(), self.context, offset)
    }

    pub(super) fn lane_special(&mut self, special: Special) -> ir::Value {
        let linear = self.thread.linear;
        let lane = self.b.ins().band_imm_u(linear, 31);
        let one = self.b.ins().iconst(I32, 1);
        let own = self.b.ins().ishl(one, lane);
        let below = self.b.ins().iadd_imm_s(own, -1);
        match special {
            Special::LaneId => lane,
            Special::WarpId => self.b.ins().ushr_imm_u(linear, 5),
            Special::NwarpId => {
                let [x, y, z] = self.entry.ntid;
                let area = self.b.ins().imul(x, y);
                let volume = self.b.ins().imul(area, z);
                let up = self.b.ins().iadd_imm_s(volume, 31);
                self.b.ins().ushr_imm_u(up, 5)
            }
            Special::LanemaskEq => own,
            Special::LanemaskLt => below,
            Special::LanemaskLe => self.b.ins().bor(own, below),
            Special::LanemaskGe => self.b.ins().bnot(below),
            _ => {
                let le = self.b.ins().bor(own, below);
                self.b.ins().bnot(le)
            }
        }
    }
}
