//! Samplers.

use crate::answer::Answer;
use crate::arena::{self, Arena, Live, Object, Ref};
use crate::caller::{self, Caller};
use crate::cl_int;
use crate::context::Context;
use crate::generated::{Kind, kind, send};
use crate::properties;
use crate::status::CL_INVALID_VALUE;
use crate::user::{In, Out, Raw};

const CL_SAMPLER_REFERENCE_COUNT: u32 = 0x1150;
const CL_SAMPLER_CONTEXT: u32 = 0x1151;
const CL_SAMPLER_NORMALIZED_COORDS: u32 = 0x1152;
const CL_SAMPLER_ADDRESSING_MODE: u32 = 0x1153;
const CL_SAMPLER_FILTER_MODE: u32 = 0x1154;
const CL_SAMPLER_PROPERTIES: u32 = 0x1158;
/// `CL_ADDRESS_CLAMP`, the default.
const CLAMP: u64 = 0x1132;
/// `CL_FILTER_NEAREST`, the default.
const NEAREST: u64 = 0x1140;

/// A sampler.
pub struct Sampler {
    /// Its context.
    pub context: Ref<Context>,
    /// Normalized coordinates, addressing mode, filter mode.
    modes: [u64; 3],
    /// The list as the program gave it.
    properties: Vec<u8>,
}

static SAMPLERS: Arena<Sampler> = Arena::new();

impl Object for Sampler {
    const KIND: Kind = kind::cl_sampler;

    fn arena() -> &'static Arena<Sampler> {
        &SAMPLERS
    }

    fn release(this: &Live<Sampler>, caller: &Caller) {
        let _ = send::clReleaseSampler(caller, this.handle);
    }
}

const NAMES: [u64; 3] =
    [CL_SAMPLER_NORMALIZED_COORDS as u64, CL_SAMPLER_ADDRESSING_MODE as u64, CL_SAMPLER_FILTER_MODE as u64];

fn create(context: Raw, given: Option<Vec<[u64; 2]>>, old: bool) -> Result<Raw, cl_int> {
    let context = arena::get::<Context>(context)?;
    let pairs = given.as_deref().unwrap_or_default();
    properties::check(pairs, &NAMES, CL_INVALID_VALUE)?;
    let defaults = [1, CLAMP, NEAREST];
    let modes = [0, 1, 2].map(|at| properties::value(pairs, NAMES[at]).unwrap_or(defaults[at]));
    let caller = caller::enter()?;
    let vacant = arena::vacant::<Sampler>()?;
    let all: Vec<[u64; 2]> = NAMES.into_iter().zip(modes).map(|(name, mode)| [name, mode]).collect();
    caller::answer(send::gpuferrySampler(&caller, vacant.handle, context.handle, &properties::encode(&all)))?;
    let properties = if old { Vec::new() } else { properties::as_given(given.as_deref()) };
    Ok(vacant.fill(Sampler { context, modes, properties }).raw())
}

impl Live<Sampler> {
    fn info(&self, param: u32, to: &Answer) -> Result<(), cl_int> {
        match param {
            CL_SAMPLER_REFERENCE_COUNT => to.number(arena::references(self)),
            CL_SAMPLER_CONTEXT => to.object(self.context.raw()),
            CL_SAMPLER_NORMALIZED_COORDS => to.number(self.modes[0] as u32),
            CL_SAMPLER_ADDRESSING_MODE => to.number(self.modes[1] as u32),
            CL_SAMPLER_FILTER_MODE => to.number(self.modes[2] as u32),
            CL_SAMPLER_PROPERTIES => to.bytes(&self.properties),
            _ => Err(CL_INVALID_VALUE),
        }
    }
}

crate::makers! {
    /// OpenCL 1.2, clCreateSampler.
    extern "C" fn clCreateSampler(context: Raw, normalized_coords: u32, addressing_mode: u32, filter_mode: u32) {
        let modes = [normalized_coords, addressing_mode, filter_mode].map(u64::from);
        create(context, Some(NAMES.into_iter().zip(modes).map(|(name, mode)| [name, mode]).collect()), true)
    }

    /// OpenCL 3.0 § 5.7.1, clCreateSamplerWithProperties.
    extern "C" fn clCreateSamplerWithProperties(context: Raw, sampler_properties: In<u64>) {
        create(context, sampler_properties.pairs()?, false)
    }
}

crate::calls! {
    /// OpenCL 3.0 § 5.7.1, clRetainSampler.
    extern "C" fn clRetainSampler(sampler: Raw) {
        arena::retain::<Sampler>(sampler)
    }

    /// OpenCL 3.0 § 5.7.1, clReleaseSampler.
    extern "C" fn clReleaseSampler(sampler: Raw) {
        arena::release::<Sampler>(sampler)
    }

    /// OpenCL 3.0 § 5.7.2, clGetSamplerInfo.
    extern "C" fn clGetSamplerInfo(
        sampler: Raw, param_name: u32, param_value_size: usize, param_value: Raw, param_value_size_ret: Out<usize>,
    ) {
        let sampler = arena::get::<Sampler>(sampler)?;
        sampler.info(param_name, &Answer::new(param_value_size, param_value, param_value_size_ret))
    }
}
