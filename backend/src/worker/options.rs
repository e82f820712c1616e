//! Arguments of `gpuferry-worker`. The front writes them; a person starts a worker only to look at it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::api::{Device, OpenClDevice, Settings};
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
            device: Device::Cpu,
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
                AnyDevice::Cuda(device) => options.settings.device = device,
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
#[error("a device is cpu, cuda:NUMBER, cuda:UUID, opencl, opencl:PLATFORM or opencl:PLATFORM/DEVICE")]
pub struct NotADevice;

/// What `--device` names: it may be given once for each API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyDevice {
    /// CUDA's.
    Cuda(Device),
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

impl std::str::FromStr for Device {
    type Err = NotADevice;

    fn from_str(text: &str) -> Result<Device, NotADevice> {
        if text == "cpu" {
            return Ok(Device::Cpu);
        }
        let name = text.strip_prefix("cuda:").ok_or(NotADevice)?;
        if let Ok(number) = name.parse() {
            return Ok(Device::Cuda(number));
        }
        let uuid = name.strip_prefix("GPU-").unwrap_or(name);
        let digits = uuid.split('-').map(str::len).collect::<Vec<_>>();
        if digits != [8, 4, 4, 4, 12] || !uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
            return Err(NotADevice);
        }
        Ok(Device::CudaUuid(uuid.to_ascii_lowercase()))
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
            Device::CudaUuid(uuid) => write!(f, "cuda:{uuid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_when_named_in_every_way_then_is_read_and_written_back() {
        for name in ["cpu", "cuda:0", "cuda:11", "cuda:12345678-9abc-def0-1234-56789abcdef0"] {
            assert_eq!(name.parse::<Device>().expect("a device").to_string(), name);
        }
        assert_eq!(
            "cuda:GPU-12345678-9ABC-def0-1234-56789abcdef0".parse::<Device>().expect("a device").to_string(),
            "cuda:12345678-9abc-def0-1234-56789abcdef0"
        );
    }

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
        assert_eq!("cuda:1".parse(), Ok(AnyDevice::Cuda(Device::Cuda(1))));
    }

    #[test]
    fn device_when_the_name_is_none_then_is_refused() {
        for name in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x"] {
            assert_eq!(name.parse::<Device>(), Err(NotADevice), "{name}");
        }
    }
}
