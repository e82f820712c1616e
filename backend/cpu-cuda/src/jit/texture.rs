//! Texture and surface instructions: operands go to a record on the stack, `runtime` asks the driver API.

use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData};

use crate::engine::{Geometry, TextureQuery};
use crate::jit::emit::Emit;
use crate::jit::runtime_texture as runtime;
use crate::ptx::ir::{Inst, Surf, Tex, Value};
use crate::ptx::types::Type;

fn is_layered(geometry: Geometry) -> bool {
    matches!(geometry, Geometry::OneLayered | Geometry::TwoLayered | Geometry::CubeLayered | Geometry::TwoMultisample)
}

fn dimensions(geometry: Geometry) -> usize {
    match geometry {
        Geometry::One | Geometry::OneLayered => 1,
        Geometry::Two | Geometry::TwoLayered | Geometry::TwoMultisample => 2,
        _ => 3,
    }
}

impl Emit<'_, '_, '_> {
    fn record(&mut self, bytes: u32) -> ir::Value {
        self.scratch(2, bytes)
    }

    fn put(&mut self, record: ir::Value, at: usize, value: Value) {
        let value = self.int(value, 32);
        self.b.ins().store(MemFlagsData::trusted(), value, record, at as i32);
    }

    /// `tex` and `tld4`. The record is a `runtime::FetchRecord`.
    pub fn texture(&mut self, tex: Tex, inst: &Inst) {
        let record = self.record(size_of::<runtime::FetchRecord>() as u32);
        let handle = self.int(inst.src[0], 64);
        let mut next = 1;
        if is_layered(tex.geometry) {
            self.put(record, std::mem::offset_of!(runtime::FetchRecord, layer), inst.src[next]);
            next += 1;
        }
        let count = dimensions(tex.geometry);
        for n in 0..count {
            let at = std::mem::offset_of!(runtime::FetchRecord, coordinates) + 4 * n;
            self.put(record, at, inst.src[next]);
            next += 1;
        }
        if tex.level {
            self.put(record, std::mem::offset_of!(runtime::FetchRecord, level), inst.src[next]);
            next += 1;
        }
        if tex.gradient {
            for which in 0..2 {
                for n in 0..count {
                    let at = std::mem::offset_of!(runtime::FetchRecord, gradient) + 12 * which + 4 * n;
                    self.put(record, at, inst.src[next]);
                    next += 1;
                }
            }
        }
        self.note_thread();
        let what = self.iconst(64, runtime::fetch_number(&tex));
        let line = self.iconst(32, u64::from(self.line));
        let args = [self.context, handle, what, record, line];
        let Some(status) = self.helper(runtime::texture as *const (), &args, Some(I32)) else { return };
        self.fault_exit_if(status);
        for (n, &dst) in inst.dst.iter().enumerate() {
            let at = std::mem::offset_of!(runtime::FetchRecord, texel) + 4 * n;
            let value = self.b.ins().load(I32, MemFlagsData::trusted(), record, at as i32);
            self.write(dst, value);
        }
    }

    /// `txq` and `suq`.
    pub fn texture_query(&mut self, query: TextureQuery, surface: bool, dst: Option<u32>, src: Value) {
        let handle = self.int(src, 64);
        self.note_thread();
        let what = self.iconst(32, runtime::query_number(query, surface));
        let line = self.iconst(32, u64::from(self.line));
        let record = self.record(16);
        let args = [self.context, handle, what, record, line];
        let Some(status) = self.helper(runtime::texture_query as *const (), &args, Some(I32)) else { return };
        self.fault_exit_if(status);
        let value = self.b.ins().load(I32, MemFlagsData::trusted(), record, 0);
        self.write(dst, value);
    }

    /// `suld` and `sust`. The record is a `runtime::SurfaceRecord`.
    pub fn surface(&mut self, surf: Surf, inst: &Inst, load: bool) {
        let record = self.record(size_of::<runtime::SurfaceRecord>() as u32);
        let handle = self.int(inst.src[0], 64);
        let mut next = 1;
        if is_layered(surf.geometry) {
            self.put(record, std::mem::offset_of!(runtime::SurfaceRecord, layer), inst.src[next]);
            next += 1;
        }
        for n in 0..dimensions(surf.geometry) {
            let at = std::mem::offset_of!(runtime::SurfaceRecord, coordinates) + 4 * n;
            self.put(record, at, inst.src[next]);
            next += 1;
        }
        let data = std::mem::offset_of!(runtime::SurfaceRecord, bytes);
        let bits = surf.ty.bits();
        if !load {
            for (n, &value) in inst.src[next..].iter().enumerate() {
                let value = self.int(value, bits);
                let at = data + n * (bits / 8) as usize;
                self.b.ins().store(MemFlagsData::trusted(), value, record, at as i32);
            }
        }
        self.note_thread();
        let what = self.iconst(64, runtime::surface_number(&surf, load));
        let line = self.iconst(32, u64::from(self.line));
        let args = [self.context, handle, what, record, line];
        let Some(status) = self.helper(runtime::surface as *const (), &args, Some(I32)) else { return };
        self.fault_exit_if(status);
        if load {
            let k = match surf.ty {
                Type::B8 => I8,
                Type::B16 => I16,
                Type::B32 => I32,
                _ => I64,
            };
            for (n, &dst) in inst.dst.iter().enumerate() {
                let at = data + n * (bits / 8) as usize;
                let value = self.b.ins().load(k, MemFlagsData::trusted(), record, at as i32);
                self.write(dst, value);
            }
        }
    }
}
