//! Which devices a session has for CUDA, as `--device` names them. A worker has them all: its guest's program copies between
//! them, and lets one reach the other's memory.

use std::fmt;
use std::str::FromStr;

use super::options::NotADevice;

/// Most devices of a session.
pub const MOST_DEVICES: usize = 16;

/// The devices of a session, in the order in which programs see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// So many CPU devices of this project.
    Cpu(u32),
    /// These GPUs.
    Gpus(Vec<Gpu>),
    /// All GPUs that the host's driver shows, in the order of their addresses on the bus.
    AllGpus,
}

/// A GPU of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpu {
    /// The one with this number, as the host's driver counts.
    Number(u32),
    /// The one with this UUID, as `nvidia-smi -L` prints it, without `GPU-`.
    Uuid(String),
}

/// Devices that cannot be one session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "devices for CUDA are either CPU devices or GPUs, each GPU once, all by number or all by UUID, or cuda:all alone; at most \
     {MOST_DEVICES}"
)]
pub struct Clash;

impl Devices {
    /// Whether they are of the CPU.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        matches!(self, Devices::Cpu(_))
    }

    /// How many there are; `None` for as many as the host has.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        match self {
            Devices::Cpu(count) => Some(*count as usize),
            Devices::Gpus(gpus) => Some(gpus.len()),
            Devices::AllGpus => None,
        }
    }

    /// These devices behind those that were named before.
    ///
    /// # Errors
    /// [`Clash`].
    pub fn behind(self, before: Option<Devices>) -> Result<Devices, Clash> {
        let all = match (before, self) {
            (None, named) => named,
            (Some(Devices::Cpu(count)), Devices::Cpu(more)) => Devices::Cpu(count.saturating_add(more)),
            (Some(Devices::Gpus(mut gpus)), Devices::Gpus(more)) => {
                gpus.extend(more);
                Devices::Gpus(gpus)
            }
            _ => return Err(Clash),
        };
        if all.count().is_some_and(|count| count > MOST_DEVICES) || all.has_clash() {
            return Err(Clash);
        }
        Ok(all)
    }

    fn has_clash(&self) -> bool {
        let Devices::Gpus(gpus) = self else { return false };
        let is_number = |gpu: &Gpu| matches!(gpu, Gpu::Number(_));
        let (first, rest) = match gpus.split_first() {
            Some((first, rest)) => (first, rest),
            None => return false,
        };
        let is_twice = gpus.iter().enumerate().any(|(at, gpu)| gpus[..at].contains(gpu));
        is_twice || rest.iter().any(|gpu| is_number(gpu) != is_number(first))
    }
}

impl Default for Devices {
    fn default() -> Devices {
        Devices::Cpu(1)
    }
}

impl FromStr for Devices {
    type Err = NotADevice;

    /// A list with commas, in which a number or UUID alone is a GPU behind one.
    fn from_str(text: &str) -> Result<Devices, NotADevice> {
        if text == "cuda:all" {
            return Ok(Devices::AllGpus);
        }
        let mut all = None;
        for name in text.split(',') {
            let one = match (name, name.strip_prefix("cuda:")) {
                ("cpu", _) => Devices::Cpu(1),
                (_, Some(gpu)) => Devices::Gpus(vec![gpu.parse()?]),
                _ if matches!(all, Some(Devices::Gpus(_))) => Devices::Gpus(vec![name.parse()?]),
                _ => return Err(NotADevice),
            };
            all = Some(one.behind(all).map_err(|Clash| NotADevice)?);
        }
        all.ok_or(NotADevice)
    }
}

impl FromStr for Gpu {
    type Err = NotADevice;

    fn from_str(name: &str) -> Result<Gpu, NotADevice> {
        if let Ok(number) = name.parse() {
            return Ok(Gpu::Number(number));
        }
        let uuid = name.strip_prefix("GPU-").unwrap_or(name);
        let digits = uuid.split('-').map(str::len).collect::<Vec<_>>();
        if digits != [8, 4, 4, 4, 12] || !uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
            return Err(NotADevice);
        }
        Ok(Gpu::Uuid(uuid.to_ascii_lowercase()))
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = match self {
            Devices::Cpu(count) => (0..*count).map(|_| "cpu".into()).collect(),
            Devices::Gpus(gpus) => gpus.iter().map(|gpu| format!("cuda:{gpu}")).collect(),
            Devices::AllGpus => return f.write_str("cuda:all"),
        };
        f.write_str(&names.join(","))
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gpu::Number(number) => write!(f, "{number}"),
            Gpu::Uuid(uuid) => f.write_str(uuid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_when_named_in_every_way_then_are_read_and_written_back() {
        let uuid = "12345678-9abc-def0-1234-56789abcdef0";
        for name in ["cpu", "cpu,cpu", "cuda:0", "cuda:11", "cuda:1,cuda:0", "cuda:all", &format!("cuda:{uuid}")] {
            assert_eq!(name.parse::<Devices>().expect("devices").to_string(), name);
        }
        let upper = format!("cuda:GPU-{}", uuid.to_ascii_uppercase());
        assert_eq!(upper.parse::<Devices>().expect("a device").to_string(), format!("cuda:{uuid}"));
        assert_eq!("cuda:0,2".parse::<Devices>().expect("devices").to_string(), "cuda:0,cuda:2");
    }

    #[test]
    fn devices_when_a_name_is_none_or_they_clash_then_are_refused() {
        let uuid = "12345678-9abc-def0-1234-56789abcdef0";
        let mixed = format!("cuda:0,{uuid}");
        let many = vec!["cpu"; MOST_DEVICES + 1].join(",");
        for name in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x", "0", "cpu,0", "cuda:0,", "cuda:0,all", &many] {
            assert_eq!(name.parse::<Devices>(), Err(NotADevice), "{name}");
        }
        for name in ["cuda:0,cuda:0", "cpu,cuda:0", "cuda:0,cpu", &mixed] {
            assert_eq!(name.parse::<Devices>(), Err(NotADevice), "{name}");
        }
        let of = |name: &str| name.parse::<Devices>().expect("devices");
        assert_eq!(of("cuda:1").behind(Some(of("cuda:0"))), Ok(of("cuda:0,1")));
        assert_eq!(of("cpu").behind(Some(of("cpu"))), Ok(Devices::Cpu(2)));
        assert_eq!(of("cuda:1").behind(Some(Devices::AllGpus)), Err(Clash));
        assert_eq!(of("cuda:1").behind(Some(of("cpu"))), Err(Clash));
    }
}
