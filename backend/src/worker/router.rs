//! One worker, several APIs: a message goes to the API whose range its number lies in (`spec/README.md` § Numbers).
//!
//! Each guest library opens a session of its own, so that a session calls one API only; which one, its first message says.

use std::sync::Arc;

use wire::Malformed;
use wire::frame::{FrameHeader, NO_SLOT};

use super::{Api, Library, LoadError, Patience, Reply, Session, Settings, cuda, nvml, opencl};

/// First number of OpenCL's messages.
const OPENCL: u16 = 0x4000;
/// First number behind them, and first of NVML's.
const NVML: u16 = 0x6000;
/// First number behind those.
const NVML_END: u16 = 0x7000;
/// `CL_PLATFORM_NOT_FOUND_KHR`: what OpenCL's calls get where none is served.
const NO_OPENCL: i32 = -1001;

/// Loads the libraries of all APIs that the settings name.
///
/// # Errors
/// What is wrong with one of them.
pub fn load(settings: &Settings) -> Result<Box<dyn Library>, LoadError> {
    let opencl = settings.opencl.as_ref().map(|choice| opencl::load(choice, settings.opencl_library.as_deref()));
    let (opencl, cuda) = (opencl.transpose()?, cuda::load(settings)?);
    Ok(Box::new(Loaded { cuda, nvml: nvml::load(settings), opencl }))
}

/// All libraries, before the session.
struct Loaded {
    cuda: cuda::Loaded,
    nvml: Option<nvml::Host>,
    opencl: Option<opencl::Loaded>,
}

impl Library for Loaded {
    fn begin(self: Box<Self>, session: Arc<Session>) -> Arc<dyn Api> {
        let figure = || self.nvml.as_ref().and_then(nvml::Host::figure);
        let opencl = self.opencl.map(|library| library.begin(Arc::clone(&session), figure()));
        let figure = figure();
        let nvml = nvml::Nvml::new(self.nvml, Arc::clone(&session));
        Arc::new(Router { cuda: self.cuda.begin(session, figure), nvml, opencl })
    }
}

/// The session's APIs.
struct Router {
    cuda: Arc<dyn Api>,
    nvml: nvml::Nvml,
    opencl: Option<Arc<dyn Api>>,
}

impl Router {
    fn serves(&self, call: u16) -> Option<&dyn Api> {
        match call {
            OPENCL..NVML => self.opencl.as_deref(),
            NVML..NVML_END => Some(&self.nvml),
            _ => Some(&*self.cuda),
        }
    }
}

impl Api for Router {
    fn call(&self, from: &FrameHeader, payload: &[u8], reply: &mut Reply<'_>) -> Result<(), Malformed> {
        match self.serves(from.call) {
            Some(api) => api.call(from, payload, reply),
            None if from.slot == NO_SLOT => Err(Malformed::new("a posted call of an API that is not served")),
            None => {
                reply.status(NO_OPENCL);
                Ok(())
            }
        }
    }

    fn blocks(&self, call: u16) -> bool {
        self.serves(call).is_some_and(|api| api.blocks(call))
    }

    fn stands(&self, call: u16) -> bool {
        self.serves(call).is_some_and(|api| api.stands(call))
    }

    fn patience(&self, call: u16) -> Patience {
        self.serves(call).map_or(Patience::Usual, |api| api.patience(call))
    }

    fn end(&self) {
        self.cuda.end();
        if let Some(opencl) = &self.opencl {
            opencl.end();
        }
    }
}
