//! What the devices say of each other, and which is whose.

use crate::{Pair, cu, tell};

/// A number that is no device's.
const NONE: i32 = 99;

/// What lies between two devices.
pub fn devices(pair: &Pair) {
    let cuda = &pair.cuda;
    for (from, to) in [(0, 1), (1, 0), (0, 0), (0, NONE), (NONE, 0)] {
        let mut can = -1i32;
        tell!(cuda, format!("{from} to {to}"), cuDeviceCanAccessPeer(&mut can, from, to));
        cuda.say("can", can);
    }
    let wanted = [(0, 1), (1, 0), (0, 0), (0, NONE)];
    for (from, to) in wanted {
        for attribute in 0..=5u32 {
            let mut value = -1i32;
            tell!(
                cuda,
                format!("{attribute}, {from} to {to}"),
                cuDeviceGetP2PAttribute(&mut value, attribute, from, to)
            );
            cuda.say("is", value);
        }
    }
    let (mut one, mut two) = ([0u8; 16], [0u8; 16]);
    cu!(cuda, cuDeviceGetUuid_v2(&mut one, 0));
    cu!(cuda, cuDeviceGetUuid_v2(&mut two, 1));
    cuda.say("names differ", one != two);
    for device in 0..2 {
        let (mut place, mut found) = ([0u8; 32], -1i32);
        cu!(cuda, cuDeviceGetPCIBusId(&mut place, 32, device));
        tell!(cuda, "", cuDeviceGetByPCIBusId(&mut found, &place));
        cuda.say("found by its place", found);
    }
}

/// Which device and which context is the current one's, a stream's, a context's.
pub fn contexts(pair: &Pair) {
    let cuda = &pair.cuda;
    for device in [1, 0] {
        pair.on(device);
        let (mut found, mut stream, mut context) = (-1i32, 0u64, 0u64);
        tell!(cuda, "", cuCtxGetDevice(&mut found));
        cuda.say("device", found);
        tell!(cuda, "", cuStreamCreate(&mut stream, 1));
        pair.on(1 - device);
        tell!(cuda, "of a stream of the other", cuStreamGetCtx(stream, &mut context));
        cuda.say("is its context", context == pair.contexts[device]);
        tell!(cuda, "of the null stream", cuStreamGetCtx(0u64, &mut context));
        cuda.say("is the current one", context == pair.contexts[1 - device]);
        tell!(cuda, "of a stream of the other", cuStreamDestroy_v2(stream));
    }
    let (mut flags, mut active) = (0u32, 0i32);
    for device in 0..2 {
        tell!(cuda, "", cuDevicePrimaryCtxGetState(device, &mut flags, &mut active));
        cuda.say("is active", active);
    }
    // A context of its own on the second device, while the first one's is current.
    let (mut own, mut found) = (0u64, -1i32);
    pair.on(0);
    tell!(cuda, "", cuCtxCreate_v2(&mut own, 0, 1));
    tell!(cuda, "", cuCtxGetDevice(&mut found));
    cuda.say("device", found);
    tell!(cuda, "", cuCtxDestroy_v2(own));
    tell!(cuda, "behind it", cuCtxGetDevice(&mut found));
    cuda.say("device", found);
    // One device's context ends; the other's memory stays.
    let kept = pair.words(1, 1000, 5);
    let gone = pair.words(0, 1000, 6);
    tell!(cuda, "", cuDevicePrimaryCtxReset_v2(0));
    pair.on(1);
    pair.sum("the other's memory", kept, 1000);
    let mut value = 0u64;
    tell!(cuda, "of memory that is gone", cuPointerGetAttribute(&mut value, 9, gone));
}

/// Peer access, and what is refused.
pub fn access(pair: &Pair) {
    let cuda = &pair.cuda;
    let [one, two] = pair.contexts;
    cu!(cuda, cuCtxSetCurrent(0u64));
    tell!(cuda, "with no context", cuCtxEnablePeerAccess(two, 0));
    tell!(cuda, "with no context", cuCtxDisablePeerAccess(two));
    pair.on(0);
    tell!(cuda, "before", cuCtxDisablePeerAccess(two));
    tell!(cuda, "itself", cuCtxEnablePeerAccess(one, 0));
    tell!(cuda, "null", cuCtxEnablePeerAccess(0u64, 0));
    tell!(cuda, "null", cuCtxDisablePeerAccess(0u64));
    tell!(cuda, "flags", cuCtxEnablePeerAccess(two, 1));
    tell!(cuda, "", cuCtxEnablePeerAccess(two, 0));
    tell!(cuda, "again", cuCtxEnablePeerAccess(two, 0));
    tell!(cuda, "", cuCtxDisablePeerAccess(two));
    tell!(cuda, "again", cuCtxDisablePeerAccess(two));
    tell!(cuda, "anew", cuCtxEnablePeerAccess(two, 0));
    // In one direction alone.
    pair.on(1);
    tell!(cuda, "the other way", cuCtxDisablePeerAccess(one));
    tell!(cuda, "the other way", cuCtxEnablePeerAccess(one, 0));
    // A second context of the first device has none.
    let mut own = 0u64;
    tell!(cuda, "", cuCtxCreate_v2(&mut own, 0, 0));
    tell!(cuda, "of a second context", cuCtxDisablePeerAccess(two));
    tell!(cuda, "of a second context", cuCtxEnablePeerAccess(two, 0));
    tell!(cuda, "", cuCtxDestroy_v2(own));
    tell!(cuda, "destroyed", cuCtxEnablePeerAccess(own, 0));
    let mut peers = 0i32;
    for attribute in [1u32, 2, 3] {
        tell!(cuda, "", cuDeviceGetP2PAttribute(&mut peers, attribute, 0, 1));
    }
}
