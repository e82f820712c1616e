//! Arguments of `gpuferry-worker`. The front writes them; a person starts a worker only to look at it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::api::{OpenClDevice, Settings};
use super::devices::Devices;
use super::watchdog::Times;
use crate::sandbox::{self, Layers, Mode};

/// What the front asks for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) settings: Settings,
    /// What the process gives up; [`Mode::Off`] unless the front names layers.
    pub(super) sandbox: sandbox::Settings,
    pub(super) layers: Layers,
    pub(super) times: Times,
    pub(super) level: log::LevelFilter,
}

/// Reads the arguments, the program's name first.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut options = Options {
        settings: Settings {
            devices: Devices::default(),
            library: None,
            opencl: None,
            opencl_library: None,
            allow_pageable: false,
            prepare_context: false,
        },
        sandbox: sandbox::Settings { mode: Mode::Off, ..sandbox::Settings::default() },
        layers: Layers::default(),
        times: Times { call: None, compile: None },
        level: log::LevelFilter::Info,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("device") => match parser.value()?.parse()? {
                AnyDevice::Cuda(devices) => options.settings.devices = devices,
                AnyDevice::OpenCl(device) => options.settings.opencl = Some(device),
            },
            Long("opencl-library") => options.settings.opencl_library = Some(PathBuf::from(parser.value()?)),
            Long("library") => options.settings.library = Some(PathBuf::from(parser.value()?)),
            Long("call-timeout") => options.times.call = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("compile-timeout") => options.times.compile = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("allow-pageable-access") => options.settings.allow_pageable = true,
            Long("prepare-context") => options.settings.prepare_context = true,
            Long("layers") => {
                options.layers = Layers::from_word(&parser.value()?.string()?).ok_or("layers that are none")?;
                options.sandbox.mode = Mode::Try;
            }
            Long("user") => options.sandbox.user = Some(parser.value()?.parse()?),
            Long("sandbox-debug") => options.sandbox.says_calls = true,
            Long("allow-call") => options.sandbox.more_calls.push(parser.value()?.parse()?),
            Long("log-level") => options.level = parser.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

/// Not a device's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a device is cpu, cuda:NUMBER, cuda:UUID, a list of one kind of these with commas, cuda:all, opencl, opencl:PLATFORM or \
     opencl:PLATFORM/DEVICE"
)]
pub struct NotADevice;

/// What `--device` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyDevice {
    /// CUDA's.
    Cuda(Devices),
    /// OpenCL's.
    OpenCl(OpenClDevice),
}

impl std::str::FromStr for AnyDevice {
    type Err = NotADevice;

    fn from_str(text: &str) -> Result<AnyDevice, NotADevice> {
        let named = match text.strip_prefix("opencl") {
            None => return text.parse().map(AnyDevice::Cuda),
            Some("") => return Ok(AnyDevice::OpenCl(OpenClDevice::default())),
            Some(rest) => rest.strip_prefix(':').filter(|name| !name.is_empty()).ok_or(NotADevice)?,
        };
        let (platform, device) = match named.split_once('/') {
            Some((platform, device)) if !device.is_empty() => (platform, Some(device.to_owned())),
            Some(_) => return Err(NotADevice),
            None => (named, None),
        };
        let platform = Some(platform.to_owned()).filter(|name| !name.is_empty());
        Ok(AnyDevice::OpenCl(OpenClDevice { platform, device }))
    }
}

impl std::fmt::Display for OpenClDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let platform = self.platform.as_deref().unwrap_or_default();
        match &self.device {
            Some(device) => write!(f, "opencl:{platform}/{device}"),
            None if platform.is_empty() => f.write_str("opencl"),
            None => write!(f, "opencl:{platform}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opencl_device_when_named_in_every_way_then_is_read_and_written_back() {
        for name in
            ["opencl", "opencl:0", "opencl:pocl", "opencl:0/1", "opencl:Portable Computing Language/EPYC", "opencl:/1"]
        {
            match name.parse() {
                Ok(AnyDevice::OpenCl(device)) => assert_eq!(device.to_string(), name),
                other => panic!("{name}: {other:?}"),
            }
        }
        for name in ["opencl:", "opencl:0/", "opencl0", "openclx:1"] {
            assert_eq!(name.parse::<AnyDevice>(), Err(NotADevice), "{name}");
        }
        assert_eq!("cpu,cpu".parse(), Ok(AnyDevice::Cuda(Devices::Cpu(2))));
    }
}
