//! Loads and stores, and the checks that keep them inside what the launch may touch.
//!
//! A global access costs: subtract the arena's base, rotate right by the alignment (so that a misaligned address
//! becomes an impossible one), clamp to the number of granules, look at the granule's byte. Zero (outside, free, or
//! misaligned) goes to the slow path, [`crate::jit::runtime::resolve`], which knows registered host memory and makes
//! faults. Shared and local accesses compare their offset with the length; addresses the compiler knows need nothing.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData};

use crate::engine::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::jit::context::fault;
use crate::jit::emit::{Emit, field};
use crate::jit::kinds::{int_kind, kind};
use crate::ptx::ir::{Access, Value};
use crate::ptx::types::{Space, Type};

/// A host pointer and a constant offset from it.
#[derive(Clone, Copy)]
pub struct Place {
    /// The pointer.
    pub base: ir::Value,
    /// Added by the access.
    pub offset: i32,
}

/// What `meta` of the slow path says: the line, the bytes, and these bits.
pub mod meta {
    #![allow(missing_docs)]
    pub const WRITE: u64 = 1;
    pub const GENERIC: u64 = 2;
    pub const SHARED: u64 = 4;
    pub const LOCAL: u64 = 8;
    /// With `SHARED`: of any block of the cluster.
    pub const CLUSTER: u64 = 16;
    pub const SIZE_SHIFT: u32 = 8;
    pub const LINE_SHIFT: u32 = 24;
}

impl Emit<'_, '_, '_> {
    fn meta(&self, bytes: u32, flags: u64) -> u64 {
        u64::from(self.line) << meta::LINE_SHIFT | u64::from(bytes) << meta::SIZE_SHIFT | flags
    }

    /// Calls the slow path; the answer is a host pointer. Faults do not come back.
    fn resolve(&mut self, address: ir::Value, bytes: u32, flags: u64) -> ir::Value {
        let slow = self.unit.slow(self.b.func);
        let meta = self.iconst(64, self.meta(bytes, flags));
        self.b.ins().call(slow, &[self.context, address, meta]);
        let pointer = self.b.ins().load(I64, MemFlagsData::trusted(), self.context, field!(resolved));
        let good = self.b.create_block();
        self.b.set_cold_block(good);
        let exit = self.fault_exit();
        self.b.ins().brif(pointer, good, &[], exit, &[]);
        self.b.switch_to_block(good);
        pointer
    }

    /// Whether an address is aligned and in allocated granules: zero if not.
    pub(super) fn granule(&mut self, address: ir::Value, bytes: u32) -> ir::Value {
        let log = bytes.trailing_zeros();
        let offset = self.b.ins().isub(address, self.entry.arena_base);
        let turned = if log > 0 { self.b.ins().rotr_imm_u(offset, i64::from(log)) } else { offset };
        let index = self.b.ins().ushr_imm_u(turned, i64::from(9 - log));
        let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, index, self.entry.granule_count);
        let index = self.b.ins().select(inside, index, self.entry.granule_count);
        let at = self.b.ins().iadd(self.entry.granules, index);
        self.b.ins().load(I8, MemFlagsData::trusted(), at, 0)
    }

    fn global_place(&mut self, address: ir::Value, bytes: u32, write: bool) -> Place {
        let owned = self.granule(address, bytes);
        let slow = self.b.create_block();
        self.b.set_cold_block(slow);
        let good = self.b.create_block();
        self.b.ins().brif(owned, good, &[], slow, &[]);
        self.b.switch_to_block(slow);
        self.resolve(address, bytes, u64::from(write));
        self.b.ins().jump(good, &[]);
        self.b.switch_to_block(good);
        Place { base: address, offset: 0 }
    }

    fn generic_place(&mut self, address: ir::Value, bytes: u32, write: bool) -> Place {
        let owned = self.granule(address, bytes);
        let other = self.b.create_block();
        self.b.set_cold_block(other);
        let good = self.b.create_block();
        self.b.append_block_param(good, I64);
        self.b.ins().brif(owned, good, &[BlockArg::Value(address)], other, &[]);
        self.b.switch_to_block(other);
        for (window, base, len) in [
            (SHARED_WINDOW, self.entry.shared, self.entry.shared_len),
            (LOCAL_WINDOW, self.thread.local, self.entry.local_len),
        ] {
            let start = self.iconst(64, window);
            let offset = self.b.ins().isub(address, start);
            let inside = self.inside(offset, len, bytes);
            let yes = self.b.create_block();
            let no = self.b.create_block();
            self.b.set_cold_block(yes);
            self.b.set_cold_block(no);
            self.b.ins().brif(inside, yes, &[], no, &[]);
            self.b.switch_to_block(yes);
            let pointer = self.b.ins().iadd(base, offset);
            self.b.ins().jump(good, &[BlockArg::Value(pointer)]);
            self.b.switch_to_block(no);
        }
        let pointer = self.resolve(address, bytes, meta::GENERIC | u64::from(write));
        self.b.ins().jump(good, &[BlockArg::Value(pointer)]);
        self.b.switch_to_block(good);
        Place { base: self.b.block_params(good)[0], offset: 0 }
    }

    /// Whether `offset` is a multiple of `bytes` and that many bytes from there end before `len`.
    fn inside(&mut self, offset: ir::Value, len: ir::Value, bytes: u32) -> ir::Value {
        let log = i64::from(bytes.trailing_zeros());
        if log == 0 {
            return self.b.ins().icmp(IntCC::UnsignedLessThan, offset, len);
        }
        let turned = self.b.ins().rotr_imm_u(offset, log);
        let count = self.b.ins().ushr_imm_u(len, log);
        self.b.ins().icmp(IntCC::UnsignedLessThan, turned, count)
    }

    fn window_place(&mut self, offset: ir::Value, bytes: u32, write: bool, local: bool) -> Place {
        let (base, len, flag) = if local {
            (self.thread.local, self.entry.local_len, meta::LOCAL)
        } else {
            (self.entry.shared, self.entry.shared_len, meta::SHARED)
        };
        let inside = self.inside(offset, len, bytes);
        let slow = self.b.create_block();
        self.b.set_cold_block(slow);
        let good = self.b.create_block();
        self.b.ins().brif(inside, good, &[], slow, &[]);
        self.b.switch_to_block(slow);
        // Always a fault: the slow path only says which.
        self.resolve(offset, bytes, flag | u64::from(write));
        self.b.ins().jump(good, &[]);
        self.b.switch_to_block(good);
        let base = self.b.ins().iadd(base, offset);
        Place { base, offset: 0 }
    }

    fn known_place(&mut self, access: Access, base: Value, bytes: u32) -> Option<Place> {
        let fits = |at: i64, size: i64| at >= 0 && at + i64::from(bytes) <= size && at % i64::from(bytes) == 0;
        match base {
            Value::Shared(n, at) if access.space != Space::Local => {
                let var = self.unit.program.shared[n as usize];
                let at = at.checked_add(access.offset)?;
                let start = i64::from(self.unit.shared_offset(n));
                if !fits(at, i64::from(var.size)) || (start + at) % i64::from(bytes) != 0 {
                    return None;
                }
                Some(Place { base: self.entry.shared, offset: i32::try_from(start + at).ok()? })
            }
            Value::Local(at) => {
                let at = at.checked_add(access.offset)?;
                if !fits(at, i64::from(self.body.local_bytes)) {
                    return None;
                }
                let base = self.b.ins().iadd(self.thread.local, self.thread.frame_offset);
                Some(Place { base, offset: i32::try_from(at).ok()? })
            }
            Value::Global(n, at) => {
                let info = &self.unit.program.globals[n as usize];
                let at = at.checked_add(access.offset)?;
                let size = i64::try_from(info.size).ok()?;
                let start = self.unit.global_address(n);
                if start == 0 || !fits(at, size) || (start as i64 + at) % i64::from(bytes) != 0 {
                    return None;
                }
                let base = self.iconst(64, start.wrapping_add(at as u64));
                Some(Place { base, offset: 0 })
            }
            _ => None,
        }
    }

    /// Where `bytes` bytes at an address are, after the checks; `bytes` is the access's alignment too.
    pub fn place(&mut self, access: Access, base: Value, bytes: u32, write: bool) -> Place {
        if let Some(place) = self.known_place(access, base, bytes) {
            return place;
        }
        if self.needs_no_check(access, base, bytes) {
            let base = self.int(base, 64);
            return Place { base, offset: access.offset as i32 };
        }
        if let Some(place) = self.grouped_place(access, base, bytes) {
            return place;
        }
        // Only a space's own variables are addresses in it; of others the number is taken as it is.
        let mut space = access.space;
        if space == Space::Param {
            if let Some(place) = self.param_place(access, base, bytes, write) {
                return place;
            }
            space = Space::Generic;
        }
        let address = self.int(base, 64);
        let address = if access.offset == 0 { address } else { self.b.ins().iadd_imm_s(address, access.offset) };
        match space {
            Space::Global | Space::Const => self.global_place(address, bytes, write),
            Space::Shared => self.window_place(address, bytes, write, false),
            Space::Local => self.window_place(address, bytes, write, true),
            Space::SharedCluster => {
                let pointer = self.resolve(address, bytes, meta::SHARED | meta::CLUSTER | u64::from(write));
                Place { base: pointer, offset: 0 }
            }
            _ => self.generic_place(address, bytes, write),
        }
    }

    /// Whether the row that runs was tested for the access.
    pub(super) fn needs_no_check(&self, access: Access, base: Value, bytes: u32) -> bool {
        matches!(access.space, Space::Global | Space::Const | Space::Generic)
            && self.unchecked.iter().any(|s| s.covers(base, access.offset, bytes))
    }

    fn param_place(&mut self, access: Access, base: Value, bytes: u32, write: bool) -> Option<Place> {
        let (start, at) = match base {
            Value::In(at) => (self.entry.params, at),
            Value::Out(at) if !self.is_kernel => (self.entry.results, at),
            _ => return None,
        };
        let at = at.checked_add(access.offset)?;
        let inside = self.unit.param_range(matches!(base, Value::Out(_)));
        if write && matches!(base, Value::In(_)) || at < 0 || at + i64::from(bytes) > i64::from(inside) {
            return None;
        }
        Some(Place { base: start, offset: i32::try_from(at).ok()? })
    }

    /// A load.
    pub fn load(&mut self, access: Access, dst: &[Option<u32>], base: Value) {
        let element = access.ty.bytes();
        let bytes = (element * dst.len() as u32).next_power_of_two();
        let constant = access.space == Space::Param && matches!(base, Value::In(_)) && self.is_kernel;
        let place = self.place(access, base, bytes, false);
        let k = kind(access.ty);
        for (n, &reg) in dst.iter().enumerate() {
            let at = place.offset + (n as u32 * element) as i32;
            let value = if access.strong && access.ty.bits() <= 64 && access.space != Space::Shared {
                let address = self.b.ins().iadd_imm_s(place.base, i64::from(at));
                let raw = self.b.ins().atomic_load(int_kind(access.ty.bits()), MemFlagsData::trusted(), address);
                self.coerce(raw, k, false)
            } else {
                let flags = if constant {
                    MemFlagsData::new().with_notrap().with_readonly().with_can_move()
                } else {
                    MemFlagsData::new().with_notrap()
                };
                self.b.ins().load(k, flags, place.base, at)
            };
            self.write_extended(reg, value, access.ty.is_signed());
        }
    }

    /// A store.
    pub fn store(&mut self, access: Access, src: &[Value]) {
        let element = access.ty.bytes();
        let values = &src[1..];
        let bytes = (element * values.len() as u32).next_power_of_two();
        let place = self.place(access, src[0], bytes, true);
        let strong = access.strong && access.ty.bits() <= 64 && access.space != Space::Shared;
        for (n, &value) in values.iter().enumerate() {
            let at = place.offset + (n as u32 * element) as i32;
            if strong {
                let value = self.int(value, access.ty.bits());
                let address = self.b.ins().iadd_imm_s(place.base, i64::from(at));
                self.b.ins().atomic_store(MemFlagsData::trusted(), value, address);
            } else {
                let value = self.stored(value, access.ty);
                self.b.ins().store(MemFlagsData::new().with_notrap(), value, place.base, at);
            }
        }
    }

    /// A value to store; a float in an integer register is stored as it is.
    fn stored(&mut self, value: Value, ty: Type) -> ir::Value {
        if let Value::Reg(reg) = value {
            let raw = self.read(reg);
            if self.b.func.dfg.value_type(raw).bits() == ty.bits() {
                return raw;
            }
        }
        self.source(value, ty)
    }

    /// `cvta`.
    pub fn convert_address(&mut self, space: Space, back: bool, dst: Option<u32>, src: Value) {
        let window = match space {
            Space::Shared | Space::SharedCluster => SHARED_WINDOW,
            Space::Local => LOCAL_WINDOW,
            _ => 0,
        };
        let value = self.int(src, 64);
        let delta = if back { window.wrapping_neg() } else { window };
        let moved = if delta == 0 {
            value
        } else {
            let delta = self.iconst(64, delta);
            self.b.ins().iadd(value, delta)
        };
        self.write(dst, moved);
    }

    /// `isspacep`.
    pub fn is_space(&mut self, space: Space, dst: Option<u32>, src: Value) {
        let address = self.int(src, 64);
        let high = self.b.ins().ushr_imm_u(address, 56);
        let wanted = match space {
            Space::Shared | Space::SharedCluster => SHARED_WINDOW >> 56,
            Space::Local => LOCAL_WINDOW >> 56,
            Space::Param => crate::engine::PARAM_WINDOW >> 56,
            _ => 0,
        };
        let mut truth = self.b.ins().icmp_imm_u(IntCC::Equal, high, wanted as i64);
        if space == Space::Const {
            truth = self.b.ins().iconst(I8, 0);
        }
        self.write_truth(dst, truth);
    }

    /// `cp.async`: a copy done at once. Sources: shared address, global address, bytes to take from there.
    pub fn copy_async(&mut self, bytes: u32, to: i64, from: i64, src: &[Value]) {
        let access = |space, offset| Access { space, ty: Type::B8, offset, strong: false };
        if src[2] != Value::Int(u64::from(bytes)) {
            let size = self.int(src[2], 32);
            let full = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, size, i64::from(bytes));
            let whole = self.b.create_block();
            let partial = self.b.create_block();
            let done = self.b.create_block();
            self.b.ins().brif(full, whole, &[], partial, &[]);
            self.b.switch_to_block(partial);
            // Byte by byte: what is not taken is zero.
            for n in 0..bytes {
                let taken = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, size, i64::from(n));
                let read = self.b.create_block();
                let put = self.b.create_block();
                self.b.append_block_param(put, I8);
                let zero = self.b.ins().iconst(I8, 0);
                self.b.ins().brif(taken, read, &[], put, &[BlockArg::Value(zero)]);
                self.b.switch_to_block(read);
                let source = self.place(access(Space::Global, from + i64::from(n)), src[1], 1, false);
                let byte = self.b.ins().load(I8, MemFlagsData::new().with_notrap(), source.base, source.offset);
                self.b.ins().jump(put, &[BlockArg::Value(byte)]);
                self.b.switch_to_block(put);
                let byte = self.b.block_params(put)[0];
                let target = self.place(access(Space::Shared, to + i64::from(n)), src[0], 1, true);
                self.b.ins().store(MemFlagsData::new().with_notrap(), byte, target.base, target.offset);
            }
            self.b.ins().jump(done, &[]);
            self.b.switch_to_block(whole);
            self.copy_whole(bytes, to, from, src);
            self.b.ins().jump(done, &[]);
            self.b.switch_to_block(done);
            return;
        }
        self.copy_whole(bytes, to, from, src);
    }

    fn copy_whole(&mut self, bytes: u32, to: i64, from: i64, src: &[Value]) {
        let access = |space, offset| Access { space, ty: Type::B8, offset, strong: false };
        let source = self.place(access(Space::Global, from), src[1], bytes, false);
        let target = self.place(access(Space::Shared, to), src[0], bytes, true);
        let (k, step) = if bytes == 4 { (I32, 4) } else { (I64, 8) };
        for n in (0..bytes as i32).step_by(step) {
            let value = self.b.ins().load(k, MemFlagsData::new().with_notrap(), source.base, source.offset + n);
            self.b.ins().store(MemFlagsData::new().with_notrap(), value, target.base, target.offset + n);
        }
    }

    /// Ends the launch: the operation cannot be done here.
    pub fn illegal(&mut self) {
        let one = self.iconst(8, 1);
        self.fault_if(one, fault::ILLEGAL_INSTRUCTION);
    }
}
