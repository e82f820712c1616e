//! Copies between the guest's memory and the device.
//!
//! The guest's pages are no memory that the driver has registered: from and to such memory it would copy at a third of the
//! speed, and a call for each page would cost more than the copy. So they pass through stages; but for few bytes, and where
//! the device is this processor and the pages lie together. Of a large copy several stages are filled or emptied by the
//! [`movers`](crate::worker::movers) at once, while the thread that makes the call hands one after the other to the driver.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::atomic::Ordering;
use std::time::Instant;

use wire::Malformed;
use wire::frame::FrameHeader;
use wire::payload::Buffer;

use super::Cuda;
use super::generated::CUDA_ERROR_INVALID_VALUE;
use super::stage::{STAGE, Stage};
use crate::worker::answer::{Failure, function, ok};
use crate::worker::movers::{Move, Moving};
use crate::worker::{Piece, Pieces};

/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED`.
const CAPTURE_UNSUPPORTED: i32 = 900;
/// Pieces of this many bytes on average are copied each by itself, where the device is this processor.
const LARGE: usize = 128 * 1024;
/// Most stages of one copy that are under way.
const MOST_STAGES: usize = 8;
/// Bytes from which staged copies are worth registering the staging area.
const REGISTER_FROM: u64 = 64 * 1024;

/// One driver call a piece: address on the device, address here, bytes.
type Step<'a> = dyn Fn(u64, *mut c_void, usize) -> Result<(), Failure> + 'a;
/// Waits until the device has done the steps so far.
type Finish<'a> = dyn Fn() -> Result<(), Failure> + 'a;

impl Cuda {
    /// `cuMemcpyHtoD`, from anywhere.
    pub(super) fn cuMemcpyHtoD_v2(&self, _from: &FrameHeader, to: u64, source: Buffer<'_>) -> Result<(), Failure> {
        let call = function!(self, cuMemcpyHtoD_v2)?;
        // SAFETY: the device's range and the piece were checked; see `read_guest`.
        self.read_guest(to, source, &|to, from, bytes| ok(unsafe { call(to, from.cast_const(), bytes) }), &|| Ok(()))
    }

    /// `gpuferryMemcpyHtoD`: bytes in the message, or in staging that the guest leaves alone for so long.
    pub(super) fn gpuferryMemcpyHtoD(&self, from: &FrameHeader, to: u64, source: Buffer<'_>) -> Result<(), Failure> {
        may_post(&source)?;
        self.cuMemcpyHtoD_v2(from, to, source)
    }

    /// `cuMemcpyHtoDAsync` of bytes in the message: the driver has taken them when the call returns (CUDA Driver API, API
    /// synchronization behavior: pageable memory is staged first). Bytes in staging the guest leaves alone until a waited copy of
    /// the stream.
    pub(super) fn cuMemcpyHtoDAsync_v2(
        &self,
        _from: &FrameHeader,
        to: u64,
        source: Buffer<'_>,
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        may_post(&source)?;
        self.not_recording(stream)?;
        let call = function!(self, cuMemcpyHtoDAsync_v2)?;
        // SAFETY: the stream lives; the device's range and the piece were checked; see `read_guest`.
        let step = |to, from: *mut c_void, bytes| ok(unsafe { call(to, from.cast_const(), bytes, stream) });
        self.read_guest(to, source, &step, &|| Ok(()))
    }

    /// `gpuferryMemcpyHtoDAsync`: the guest's pages are free again when this returns.
    pub(super) fn gpuferryMemcpyHtoDAsync(
        &self,
        _from: &FrameHeader,
        to: u64,
        source: Buffer<'_>,
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        self.not_recording(stream)?;
        let call = function!(self, cuMemcpyHtoDAsync_v2)?;
        // SAFETY: the stream lives; the device's range and the piece were checked; see `read_guest`.
        let step = |to, from: *mut c_void, bytes| ok(unsafe { call(to, from.cast_const(), bytes, stream) });
        self.read_guest(to, source, &step, &|| self.finish_stream(stream))
    }

    /// `cuMemcpyDtoH`, to anywhere.
    pub(super) fn cuMemcpyDtoH_v2(
        &self,
        _from: &FrameHeader,
        target: Buffer<'_>,
        reply: &mut [u8],
        source: u64,
    ) -> Result<(), Failure> {
        let call = function!(self, cuMemcpyDtoH_v2)?;
        // SAFETY: the device's range and the piece were checked; see `write_guest`.
        self.write_guest(target, reply, source, &|from, to, bytes| ok(unsafe { call(to, from, bytes) }), &|| Ok(()))
    }

    /// `cuMemcpyDtoHAsync` to pageable memory: complete when it returns, natively too.
    pub(super) fn cuMemcpyDtoHAsync_v2(
        &self,
        _from: &FrameHeader,
        target: Buffer<'_>,
        reply: &mut [u8],
        source: u64,
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        self.not_recording(stream)?;
        let call = function!(self, cuMemcpyDtoHAsync_v2)?;
        // SAFETY: the stream lives; the device's range and the piece were checked; see `write_guest`.
        let step = |from, to: *mut c_void, bytes| ok(unsafe { call(to, from, bytes, stream) });
        self.write_guest(target, reply, source, &step, &|| self.finish_stream(stream))
    }

    /// `gpuferryStageFromDevice`.
    pub(super) fn gpuferryStageFromDevice(
        &self,
        from: &FrameHeader,
        offset: u64,
        source: u64,
        bytes: usize,
    ) -> Result<(), Failure> {
        self.cuMemcpyDtoH_v2(from, Buffer::Staging { offset, bytes: bytes as u64 }, &mut [], source)
    }

    /// `gpuferryStageFromDeviceAsync`.
    pub(super) fn gpuferryStageFromDeviceAsync(
        &self,
        _from: &FrameHeader,
        offset: u64,
        source: u64,
        bytes: usize,
        stream: *mut c_void,
    ) -> Result<(), Failure> {
        self.not_recording(stream)?;
        let call = function!(self, cuMemcpyDtoHAsync_v2)?;
        // SAFETY: the stream lives; the device's range and the piece were checked; see `write_guest`.
        let step = |from, to: *mut c_void, bytes| ok(unsafe { call(to, from, bytes, stream) });
        let target = Buffer::Staging { offset, bytes: bytes as u64 };
        self.write_guest(target, &mut [], source, &step, &|| Ok(()))
    }

    /// Waits for a stream.
    pub(super) fn finish_stream(&self, stream: *mut c_void) -> Result<(), Failure> {
        let call = function!(self, cuStreamSynchronize)?;
        // SAFETY: the stream lives.
        ok(unsafe { call(stream) })
    }

    /// A stream that records would keep addresses of memory that is the guest's only for now.
    pub(super) fn not_recording(&self, stream: *mut c_void) -> Result<(), Failure> {
        if self.records(stream)? { Err(Failure::Status(CAPTURE_UNSUPPORTED)) } else { Ok(()) }
    }

    /// Whether a stream records.
    pub(super) fn records(&self, stream: *mut c_void) -> Result<bool, Failure> {
        if !self.has_captured.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let call = function!(self, cuStreamIsCapturing)?;
        let mut state = 0u32;
        // SAFETY: the stream lives, the pointer is to a live variable.
        ok(unsafe { call(stream, &raw mut state) })?;
        Ok(state != 0)
    }

    fn prepare(&self, buffer: &Buffer<'_>) {
        self.session.count_bytes(buffer);
        if matches!(buffer, Buffer::Staging { bytes, .. } if *bytes >= REGISTER_FROM) {
            self.register_staging();
        }
    }

    /// Copies a buffer to the device by `step`; after `finish` its bytes are no longer needed.
    fn read_guest(&self, to: u64, source: Buffer<'_>, step: &Step<'_>, finish: &Finish<'_>) -> Result<(), Failure> {
        self.device(to, Some(source.bytes()))?;
        self.prepare(&source);
        match source {
            Buffer::Null => finish(),
            Buffer::Inline(data) => step(to, data.as_ptr().cast_mut().cast(), data.len()).and(finish()),
            Buffer::Reply { .. } => Err(Malformed::new("an input that lies in the reply").into()),
            Buffer::Staging { .. } | Buffer::Lease { .. } => {
                let pieces = self.session.memory().resolve(&source, false)?;
                if self.is_direct(&source, &pieces) {
                    // Also after an error: earlier pieces may be under way, and the pages are the guest's again afterwards.
                    return each(&pieces, to, step).and(finish());
                }
                self.through_stages(&pieces, |groups, stages| {
                    // SAFETY: `groups` fits the stages, each of which has one group at a time; both outlive what is returned.
                    let fill =
                        |at: usize| unsafe { Moving::start(moves(&groups[at], &stages[at % stages.len()], true)) };
                    let mut filling: VecDeque<Moving> = (0..stages.len()).map(fill).collect();
                    for (at, group) in groups.iter().enumerate() {
                        drop(filling.pop_front());
                        // The stage is used again: the device must be done with it.
                        let stage = stages[at % stages.len()].pointer().cast();
                        step(to + group.at as u64, stage, group.bytes()).and(finish())?;
                        if at + stages.len() < groups.len() {
                            filling.push_back(fill(at + stages.len()));
                        }
                    }
                    Ok(())
                })
            }
        }
    }

    /// Copies from the device into a buffer by `step`; after `finish` the bytes are there.
    fn write_guest(
        &self,
        target: Buffer<'_>,
        reply: &mut [u8],
        source: u64,
        step: &Step<'_>,
        finish: &Finish<'_>,
    ) -> Result<(), Failure> {
        self.device(source, Some(target.bytes()))?;
        self.prepare(&target);
        match target {
            Buffer::Null => finish(),
            Buffer::Inline(_) => Err(Malformed::new("an output that lies in the frame").into()),
            // Through a stage: to memory that is not registered the driver would take about 5 µs more.
            Buffer::Reply { .. } if reply.len() <= STAGE => self.with_stage(|stage| {
                step(source, stage.pointer().cast(), reply.len()).and(finish())?;
                // SAFETY: the device has written so many bytes of the stage, which is longer and this call's alone.
                reply.copy_from_slice(unsafe { std::slice::from_raw_parts(stage.pointer(), reply.len()) });
                Ok(())
            }),
            Buffer::Reply { .. } => Err(Malformed::new("asks for more than a reply holds").into()),
            Buffer::Staging { .. } | Buffer::Lease { .. } => {
                let pieces = self.session.memory().resolve(&target, true)?;
                // Small copies do not register the staging area; until a large one has, a stage is faster than unregistered memory.
                let is_registered = self.has_registered_staging.load(Ordering::Relaxed);
                if let (Buffer::Staging { .. }, [piece], false) = (&target, &pieces[..], is_registered) {
                    return self.with_stage(|stage| {
                        step(source, stage.pointer().cast(), piece.bytes).and(finish())?;
                        // SAFETY: less than a stage, as larger ones have registered the area; the piece is mapped and writable.
                        unsafe { std::ptr::copy_nonoverlapping(stage.pointer(), piece.pointer, piece.bytes) };
                        Ok(())
                    });
                }
                if self.is_direct(&target, &pieces) {
                    return each(&pieces, source, step).and(finish());
                }
                self.through_stages(&pieces, |groups, stages| {
                    let mut emptying = VecDeque::new();
                    for (at, group) in groups.iter().enumerate() {
                        if emptying.len() == stages.len() {
                            drop(emptying.pop_front());
                        }
                        let stage = &stages[at % stages.len()];
                        step(source + group.at as u64, stage.pointer().cast(), group.bytes()).and(finish())?;
                        // SAFETY: as in `read_guest`; the device has written the stage, and the pieces are writable.
                        emptying.push_back(unsafe { Moving::start(moves(group, stage, false)) });
                    }
                    Ok(())
                })
            }
        }
    }

    /// Whether the driver is to copy the pieces themselves.
    fn is_direct(&self, buffer: &Buffer<'_>, pieces: &Pieces) -> bool {
        let bytes = total(pieces);
        match pieces.len() {
            0 => true,
            1 if matches!(buffer, Buffer::Staging { .. }) || (bytes as u64) < REGISTER_FROM => true,
            count => self.is_processor && bytes / count >= LARGE,
        }
    }

    /// Runs `copy` with the pieces in groups that fit a stage, and as many stages as it may use at a time.
    fn through_stages(
        &self,
        pieces: &Pieces,
        copy: impl FnOnce(&[Group], &[Stage]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let begin = log::log_enabled!(log::Level::Debug).then(Instant::now);
        let groups = groups(pieces, STAGE);
        let stages: Vec<Stage> = (0..groups.len().clamp(1, MOST_STAGES)).map(|_| self.take_stage()).collect();
        let result = copy(&groups, &stages);
        let count = stages.len();
        stages.into_iter().for_each(|stage| self.give_stage(stage));
        if let Some(begin) = begin {
            let (session, bytes, time) = (self.session.number(), total(pieces), begin.elapsed());
            log::debug!("session {session}: {bytes} bytes in {} pieces through {count} stages: {time:?}", pieces.len());
        }
        result
    }
}

/// What fills a stage with a group of pieces, or empties it into them.
fn moves(group: &Group, stage: &Stage, fills: bool) -> Vec<Move> {
    let mut at = stage.pointer();
    let of = |piece: &Piece| {
        let (from, to) = if fills { (piece.pointer, at) } else { (at, piece.pointer) };
        at = at.wrapping_add(piece.bytes);
        Move { from, to, bytes: piece.bytes }
    };
    group.pieces.iter().map(of).collect()
}

fn total(pieces: &Pieces) -> usize {
    pieces.iter().map(|piece| piece.bytes).sum()
}

/// A step for each piece.
fn each(pieces: &Pieces, device: u64, step: &Step<'_>) -> Result<(), Failure> {
    let mut at = 0u64;
    for piece in pieces.iter() {
        let address = device.checked_add(at).ok_or(Failure::Status(CUDA_ERROR_INVALID_VALUE))?;
        step(address, piece.pointer.cast(), piece.bytes)?;
        at += piece.bytes as u64;
    }
    Ok(())
}

/// Consecutive pieces that fit a stage.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    /// Where the first lies in the copy.
    at: usize,
    pieces: Vec<Piece>,
}

impl Group {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }
}

/// Consecutive pieces in groups of at most `most` bytes; a piece that does not fit is cut.
fn groups(pieces: &[Piece], most: usize) -> Vec<Group> {
    let mut found: Vec<Group> = Vec::new();
    let (mut at, mut room) = (0usize, 0usize);
    for piece in pieces {
        let (mut pointer, mut left) = (piece.pointer, piece.bytes);
        while left > 0 {
            if room == 0 {
                found.push(Group { at, pieces: Vec::new() });
                room = most;
            }
            let part = left.min(room);
            if let Some(group) = found.last_mut() {
                group.pieces.push(Piece { pointer, bytes: part });
            }
            pointer = pointer.wrapping_add(part);
            left -= part;
            room -= part;
            at += part;
        }
    }
    found
}

/// A posted copy sleeps on the ring's thread, so its bytes must be there already.
fn may_post(source: &Buffer<'_>) -> Result<(), Failure> {
    if matches!(source, Buffer::Inline(_) | Buffer::Null | Buffer::Staging { .. }) {
        return Ok(());
    }
    Err(Malformed::new("a posted copy from memory that is neither in the message nor staged").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_when_pieces_do_not_fit_then_cuts_them_and_loses_nothing() {
        let base: *mut u8 = std::ptr::without_provenance_mut(0x1000);
        let piece = |at: usize, bytes| Piece { pointer: base.wrapping_add(at), bytes };
        let found = groups(&[piece(0, 3), piece(100, 10), piece(200, 1)], 8);
        let group = |at, pieces| Group { at, pieces };
        let expected = vec![group(0, vec![piece(0, 3), piece(100, 5)]), group(8, vec![piece(105, 5), piece(200, 1)])];
        assert_eq!(found, expected);
        assert!(groups(&[], 8).is_empty());
    }
}
