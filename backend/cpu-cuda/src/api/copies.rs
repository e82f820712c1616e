//! Memory copies.

use crate::array::Array;
use crate::copy::{self, Checked, asynchronous, blocking, boxed, linear, widen};
use crate::export::cuda;
use crate::foreign::In;
use crate::handle::Handle;
use crate::status::{Answer, Status};
use crate::stream::{self, Stream};
use crate::types::{Memcpy2D, Memcpy3D};

/// Kinds of memory in a described copy.
const HOST: u32 = 1;
const DEVICE: u32 = 2;
const ARRAY: u32 = 3;

/// Bytes in a row between an array and something else, as a box copy.
fn described(to: (u32, u64, u64), from: (u32, u64, u64), bytes: u64) -> Answer<Checked> {
    let mut all = Memcpy3D { width: bytes, height: 1, depth: 1, ..Memcpy3D::default() };
    (all.src_kind, all.src_x) = (from.0, from.2);
    (all.dst_kind, all.dst_x) = (to.0, to.2);
    match from.0 {
        HOST => all.src_host = from.1,
        DEVICE => all.src_device = from.1,
        _ => all.src_array = from.1,
    }
    match to.0 {
        HOST => all.dst_host = to.1,
        DEVICE => all.dst_device = to.1,
        _ => all.dst_array = to.1,
    }
    boxed(&all)
}

fn two(described: In<Memcpy2D>) -> Answer<Checked> {
    boxed(&widen(&described.read()?))
}

cuda! {
    fn cuMemcpy | cuMemcpy_ptds (to: u64, from: u64, bytes: u64) {
        blocking(&stream::default()?, linear(from, to, bytes, (false, false))?)
    }

    fn cuMemcpyAsync | cuMemcpyAsync_ptsz (to: u64, from: u64, bytes: u64, stream: Handle<Stream>) {
        asynchronous(&stream::resolve(stream)?, linear(from, to, bytes, (false, false))?)
    }

    fn cuMemcpyPeer | cuMemcpyPeer_ptds (to: u64, _to_context: u64, from: u64, _from_context: u64, bytes: u64) {
        blocking(&stream::default()?, linear(from, to, bytes, (true, true))?)
    }

    fn cuMemcpyPeerAsync | cuMemcpyPeerAsync_ptsz (
        to: u64, _to_context: u64, from: u64, _from_context: u64, bytes: u64, stream: Handle<Stream>,
    ) {
        asynchronous(&stream::resolve(stream)?, linear(from, to, bytes, (true, true))?)
    }

    fn cuMemcpyHtoD_v2 | cuMemcpyHtoD_v2_ptds (to: u64, from: u64, bytes: u64) {
        blocking(&stream::default()?, linear(from, to, bytes, (false, true))?)
    }

    fn cuMemcpyDtoH_v2 | cuMemcpyDtoH_v2_ptds (to: u64, from: u64, bytes: u64) {
        blocking(&stream::default()?, linear(from, to, bytes, (true, false))?)
    }

    fn cuMemcpyDtoD_v2 | cuMemcpyDtoD_v2_ptds (to: u64, from: u64, bytes: u64) {
        blocking(&stream::default()?, linear(from, to, bytes, (true, true))?)
    }

    fn cuMemcpyHtoDAsync_v2 | cuMemcpyHtoDAsync_v2_ptsz (to: u64, from: u64, bytes: u64, stream: Handle<Stream>) {
        asynchronous(&stream::resolve(stream)?, linear(from, to, bytes, (false, true))?)
    }

    fn cuMemcpyDtoHAsync_v2 | cuMemcpyDtoHAsync_v2_ptsz (to: u64, from: u64, bytes: u64, stream: Handle<Stream>) {
        asynchronous(&stream::resolve(stream)?, linear(from, to, bytes, (true, false))?)
    }

    fn cuMemcpyDtoDAsync_v2 | cuMemcpyDtoDAsync_v2_ptsz (to: u64, from: u64, bytes: u64, stream: Handle<Stream>) {
        asynchronous(&stream::resolve(stream)?, linear(from, to, bytes, (true, true))?)
    }

    fn cuMemcpyDtoA_v2 | cuMemcpyDtoA_v2_ptds (to: Handle<Array>, at: u64, from: u64, bytes: u64) {
        blocking(&stream::default()?, described((ARRAY, to.0, at), (DEVICE, from, 0), bytes)?)
    }

    fn cuMemcpyAtoD_v2 | cuMemcpyAtoD_v2_ptds (to: u64, from: Handle<Array>, at: u64, bytes: u64) {
        blocking(&stream::default()?, described((DEVICE, to, 0), (ARRAY, from.0, at), bytes)?)
    }

    fn cuMemcpyHtoA_v2 | cuMemcpyHtoA_v2_ptds (to: Handle<Array>, at: u64, from: u64, bytes: u64) {
        blocking(&stream::default()?, described((ARRAY, to.0, at), (HOST, from, 0), bytes)?)
    }

    fn cuMemcpyAtoH_v2 | cuMemcpyAtoH_v2_ptds (to: u64, from: Handle<Array>, at: u64, bytes: u64) {
        blocking(&stream::default()?, described((HOST, to, 0), (ARRAY, from.0, at), bytes)?)
    }

    fn cuMemcpyAtoA_v2 | cuMemcpyAtoA_v2_ptds (to: Handle<Array>, to_at: u64, from: Handle<Array>, from_at: u64, bytes: u64) {
        blocking(&stream::default()?, described((ARRAY, to.0, to_at), (ARRAY, from.0, from_at), bytes)?)
    }

    fn cuMemcpyHtoAAsync_v2 | cuMemcpyHtoAAsync_v2_ptsz (
        to: Handle<Array>, at: u64, from: u64, bytes: u64, stream: Handle<Stream>,
    ) {
        asynchronous(&stream::resolve(stream)?, described((ARRAY, to.0, at), (HOST, from, 0), bytes)?)
    }

    fn cuMemcpyAtoHAsync_v2 | cuMemcpyAtoHAsync_v2_ptsz (
        to: u64, from: Handle<Array>, at: u64, bytes: u64, stream: Handle<Stream>,
    ) {
        asynchronous(&stream::resolve(stream)?, described((HOST, to, 0), (ARRAY, from.0, at), bytes)?)
    }

    fn cuMemcpy2D_v2 | cuMemcpy2D_v2_ptds (all: In<Memcpy2D>) {
        blocking(&stream::default()?, two(all)?)
    }

    fn cuMemcpy2DUnaligned_v2 | cuMemcpy2DUnaligned_v2_ptds (all: In<Memcpy2D>) {
        blocking(&stream::default()?, two(all)?)
    }

    fn cuMemcpy2DAsync_v2 | cuMemcpy2DAsync_v2_ptsz (all: In<Memcpy2D>, stream: Handle<Stream>) {
        asynchronous(&stream::resolve(stream)?, two(all)?)
    }

    fn cuMemcpy3D_v2 | cuMemcpy3D_v2_ptds (all: In<Memcpy3D>) {
        blocking(&stream::default()?, boxed(&all.read()?)?)
    }

    fn cuMemcpy3DAsync_v2 | cuMemcpy3DAsync_v2_ptsz (all: In<Memcpy3D>, stream: Handle<Stream>) {
        asynchronous(&stream::resolve(stream)?, boxed(&all.read()?)?)
    }

    fn cuMemcpy3DPeer | cuMemcpy3DPeer_ptds (all: In<Memcpy3D>) {
        blocking(&stream::default()?, boxed(&all.read()?)?)
    }

    fn cuMemcpy3DPeerAsync | cuMemcpy3DPeerAsync_ptsz (all: In<Memcpy3D>, stream: Handle<Stream>) {
        asynchronous(&stream::resolve(stream)?, boxed(&all.read()?)?)
    }
}

/// The copy of a graph node, checked as one in a stream would be.
pub fn node(all: &Memcpy3D) -> Answer<crate::op::Copy> {
    copy::boxed(all)?.copy.ok_or(Status::INVALID_VALUE)
}
