//! References to textures and surfaces: which array one reads is kept here, since the host would name an object of its own.

use crate::CUresult;
use crate::caller;
use crate::generated::{Kind, kind, send};
use crate::handles::{self, Handle};
use crate::program::Out;
use crate::status::{CUDA_ERROR_INVALID_VALUE, CUDA_SUCCESS};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The array or mipmapped array of a reference.
static ARRAYS: Mutex<Option<HashMap<Handle, Handle>>> = Mutex::new(None);

fn keep(reference: Handle, array: Handle, status: CUresult) -> Result<(), CUresult> {
    if status == CUDA_SUCCESS {
        ARRAYS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(reference, array);
    }
    caller::answer(status)
}

/// The array of a reference, where it is of that kind and lives.
fn give(out: Out<u64>, reference: Handle, kind: Kind) -> Result<(), CUresult> {
    out.check()?;
    let arrays = ARRAYS.lock().unwrap_or_else(PoisonError::into_inner);
    let array = arrays.as_ref().and_then(|arrays| arrays.get(&reference)).copied();
    let array = array.filter(|array| array.kind() == Some(kind.number) && handles::is_live(*array));
    out.set(array.ok_or(CUDA_ERROR_INVALID_VALUE)?.0)
}

crate::export! {
    /// CUDA Driver API, cuTexRefSetArray.
    extern "C" fn cuTexRefSetArray(hTexRef: u64, hArray: u64, Flags: u32) {
        let caller = caller::enter_context()?;
        let reference = handles::of_kind(kind::CUtexref, hTexRef)?;
        let array = handles::of_kind(kind::CUarray, hArray)?;
        keep(reference, array, send::cuTexRefSetArray(&caller, reference, array, Flags))
    }

    /// CUDA Driver API, cuTexRefSetMipmappedArray.
    extern "C" fn cuTexRefSetMipmappedArray(hTexRef: u64, hMipmappedArray: u64, Flags: u32) {
        let caller = caller::enter_context()?;
        let reference = handles::of_kind(kind::CUtexref, hTexRef)?;
        let array = handles::of_kind(kind::CUmipmappedArray, hMipmappedArray)?;
        keep(reference, array, send::cuTexRefSetMipmappedArray(&caller, reference, array, Flags))
    }

    /// CUDA Driver API, cuTexRefGetArray.
    extern "C" fn cuTexRefGetArray(phArray: Out<u64>, hTexRef: u64) {
        caller::enter_context()?;
        give(phArray, handles::of_kind(kind::CUtexref, hTexRef)?, kind::CUarray)
    }

    /// CUDA Driver API, cuTexRefGetMipmappedArray.
    extern "C" fn cuTexRefGetMipmappedArray(phMipmappedArray: Out<u64>, hTexRef: u64) {
        caller::enter_context()?;
        give(phMipmappedArray, handles::of_kind(kind::CUtexref, hTexRef)?, kind::CUmipmappedArray)
    }

    /// CUDA Driver API, cuSurfRefSetArray.
    extern "C" fn cuSurfRefSetArray(hSurfRef: u64, hArray: u64, Flags: u32) {
        let caller = caller::enter_context()?;
        let reference = handles::of_kind(kind::CUsurfref, hSurfRef)?;
        let array = handles::of_kind(kind::CUarray, hArray)?;
        keep(reference, array, send::cuSurfRefSetArray(&caller, reference, array, Flags))
    }

    /// CUDA Driver API, cuSurfRefGetArray.
    extern "C" fn cuSurfRefGetArray(phArray: Out<u64>, hSurfRef: u64) {
        caller::enter_context()?;
        give(phArray, handles::of_kind(kind::CUsurfref, hSurfRef)?, kind::CUarray)
    }
}
