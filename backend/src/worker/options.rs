//! Arguments of `gpuferry-worker`. The front writes them; a person starts a worker only to look at it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::api::{Device, Settings};

/// What the front asks for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) settings: Settings,
    pub(super) level: log::LevelFilter,
}

/// Reads the arguments, the program's name first.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut options =
        Options { settings: Settings { device: Device::Cpu, library: None }, level: log::LevelFilter::Info };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("device") => options.settings.device = parser.value()?.parse()?,
            Long("library") => options.settings.library = Some(PathBuf::from(parser.value()?)),
            Long("log-level") => options.level = parser.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

/// Not a device's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device is cpu, cuda:NUMBER or cuda:UUID")]
pub struct NotADevice;

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
    fn device_when_the_name_is_none_then_is_refused() {
        for name in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x"] {
            assert_eq!(name.parse::<Device>(), Err(NotADevice), "{name}");
        }
    }
}
