//! Which files a worker needs ([`Places`]), and Landlock, which keeps it from all others.
//!
//! No place may be executed but by an OpenCL platform, which starts the system's linker, so that no program can be started
//! whatever the filter of system calls says; where the kernel has rules for it, no TCP port may be bound or connected to
//! either, no abstract socket outside reached, and no process outside signalled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::root::SHARED_MEMORY;
use super::{Missing, Profile};

/// A room sets this variable, the driver's, for workers that may keep compiled code, to a folder in their `/dev/shm`.
pub const CODE: &str = "CUDA_CACHE_PATH";
/// That folder.
pub const CODE_FOLDER: &str = "/dev/shm/code";
/// A room sets this variable for its workers where their `/dev/shm` is the guest's own.
pub const SHARED: &str = "GPUFERRY_SHARED_MEMORY";

/// The newest rules that are asked for; older kernels enforce what they have.
const NEWEST: ABI = ABI::V6;

/// A file, or a folder with all that is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Where: without symbolic links.
    pub path: PathBuf,
    /// It may be written, and is a device: also controlled.
    pub write: bool,
}

/// All that a process may open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Files and folders.
    pub list: Vec<Place>,
    /// Symbolic links on the way to them: where, and what they say.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// `/proc`, of it only what concerns this process and the machine's processors and memory.
    pub processes: bool,
    /// A folder in memory at `/tmp` that is this process's own.
    pub scratch: bool,
    /// What may be read may be executed too.
    pub execute: bool,
    /// The guest's workers share `/dev/shm`, and no other process has it.
    pub shared: bool,
}

/// What any C program reads at its start or for a library.
const LIBRARIES: [&str; 11] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/zero",
    "/dev/urandom",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];

/// The CPU device takes its UUID from it.
const MACHINE: &str = "/etc/machine-id";

/// What NVIDIA's driver library reads besides, seen with release 580.
const NVIDIA: [&str; 8] = [
    "/usr/local/nvidia",
    "/usr/share/nvidia",
    "/etc/nvidia",
    "/sys/devices/system/memory/block_size_bytes",
    "/sys/module/nvidia",
    "/sys/module/nvidia_uvm",
    "/sys/bus/pci/devices",
    "/sys/devices",
];

/// What OpenCL's loader and platforms read; the last four are AMD's and Intel's by their documentation, seen on no machine yet.
const OPENCL: [&str; 11] = [
    "/etc/OpenCL",
    "/usr/share/pocl",
    "/usr/share/libdrm",
    "/usr/bin",
    "/bin",
    "/sys/fs/cgroup",
    "/sys/devices/virtual/dmi",
    "/opt/rocm",
    "/sys/class/kfd",
    "/sys/class/drm",
    "/sys/dev/char",
];

/// Of `/proc`, where the process's own `/proc` could not be made.
const PROCESSES: [&str; 8] = [
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/devices",
    "/proc/sys/vm",
    "/proc/filesystems",
    "/proc/driver/nvidia",
];

impl Places {
    /// What a worker's library needs; `files` are its own.
    #[must_use]
    pub fn of(profile: Profile, files: &[PathBuf]) -> Places {
        let opencl = profile == Profile::OpenCl;
        let mut places = Places { processes: true, scratch: opencl, execute: opencl, ..Places::default() };
        if profile == Profile::Front {
            return Places::default();
        }
        for path in LIBRARIES {
            places.add(Path::new(path), false);
        }
        for folder in loader_folders() {
            places.add(&folder, false);
        }
        for file in files {
            places.add(file, false);
        }
        places.add(Path::new("/dev/null"), true);
        if profile == Profile::Cpu {
            places.add(Path::new(MACHINE), false);
        } else {
            for path in NVIDIA {
                places.add(Path::new(path), false);
            }
            for node in nvidia_nodes() {
                places.add(&node, true);
            }
        }
        if profile == Profile::OpenCl {
            for path in OPENCL {
                places.add(Path::new(path), false);
            }
            for path in named_by_variables() {
                places.add(&path, false);
            }
            for node in other_nodes() {
                places.add(&node, true);
            }
        }
        places
    }

    /// With the guest's own `/dev/shm`, where its room has made one and the library uses it.
    #[must_use]
    pub fn with_shared(mut self, profile: Profile) -> Places {
        if profile == Profile::Nvidia && std::env::var_os(SHARED).is_some() {
            self.shared = true;
            self.list.push(Place { path: SHARED_MEMORY.into(), write: true });
        }
        self
    }

    /// Adds a place, and the links on the way to it. What is not there is not needed.
    fn add(&mut self, path: &Path, write: bool) {
        let mut path = path.to_path_buf();
        // As many links as the kernel follows.
        for _ in 0..40 {
            let Some((link, says)) = first_link(&path) else { break };
            let target = link.parent().unwrap_or(Path::new("/")).join(&says);
            let Ok(rest) = path.strip_prefix(&link).map(Path::to_path_buf) else { return };
            if !self.links.iter().any(|(known, _)| *known == link) {
                self.links.push((link, says));
            }
            path = if rest.as_os_str().is_empty() { target } else { target.join(rest) };
        }
        let Ok(path) = path.canonicalize() else { return };
        let covered = |place: &Place| path.starts_with(&place.path) && (place.write || !write);
        if path == Path::new("/") || self.list.iter().any(covered) {
            return;
        }
        self.list.push(Place { path, write });
    }
}

/// The first symbolic link on a path, and what it says.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.into_iter().rev().find_map(|part| Some((part.to_path_buf(), fs::read_link(part).ok()?)))
}

/// Folders in which the loader finds libraries: of its cache and of its environment variable.
fn loader_folders() -> BTreeSet<PathBuf> {
    let cache = fs::read("/etc/ld.so.cache").unwrap_or_default();
    let named = cache.split(|byte| *byte == 0).filter(|text| text.starts_with(b"/") && text.len() < 4096);
    let named = named.filter_map(|text| Some(Path::new(std::str::from_utf8(text).ok()?).parent()?.to_path_buf()));
    let variable = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let given = std::env::split_paths(&variable).filter(|path| path.is_absolute()).collect::<Vec<_>>();
    named.chain(given).filter(|folder| folder.components().count() > 1).collect()
}

/// What the operator names for OpenCL, and beside a library that is not where all are: the rest of its folder `lib`, and
/// PoCL's own files.
fn named_by_variables() -> Vec<PathBuf> {
    let names = ["OCL_", "OPENCL_", "POCL_", "LD_LIBRARY_PATH"];
    let values = std::env::vars().filter(|(name, _)| names.iter().any(|begin| name.starts_with(begin)));
    let paths = values.flat_map(|(_, value)| std::env::split_paths(&value).collect::<Vec<_>>());
    let mut all = Vec::new();
    for path in paths.filter(|path| path.is_absolute()) {
        for lib in path.ancestors().filter(|folder| folder.ends_with("lib")) {
            all.push(lib.to_path_buf());
            all.extend(lib.parent().map(|prefix| prefix.join("share/pocl")));
        }
        all.push(path);
    }
    all
}

/// NVIDIA's device nodes but those for tools and screens.
fn nvidia_nodes() -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let needed = names.filter(|name| {
        let number = name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
        number || matches!(name.as_str(), "nvidiactl" | "nvidia-uvm" | "nvidia-caps")
    });
    needed.map(|name| Path::new("/dev").join(name)).collect()
}

/// Device nodes of AMD's and Intel's GPUs for computing: not those for screens.
fn other_nodes() -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    let is_render = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("renderD");
    let render = entries.filter(is_render).map(|entry| entry.path());
    render.chain([PathBuf::from("/dev/kfd")]).collect()
}

/// The kernel's version of Landlock; 0 for none.
#[must_use]
pub fn version() -> u32 {
    const VERSION: u32 = 1;
    // SAFETY: asks for the version; no pointer.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

pub(super) fn survey(missing: &mut Vec<Missing>) -> bool {
    let version = version();
    if version == 0 {
        missing.push(Missing {
            layer: "Landlock",
            why: "the kernel has none (5.13 or later, with landlock in lsm=): use such a kernel".into(),
        });
    }
    version != 0
}

/// What a process may open, before it is enforced.
pub(super) struct Rules(RulesetCreated);

impl Rules {
    pub(super) fn new(profile: Profile, places: &Places) -> Result<Rules, RulesetError> {
        let all = AccessFs::from_all(NEWEST);
        // The front ends its workers by a signal, and they are not in its domain.
        let scope = if profile == Profile::Front { Scope::AbstractUnixSocket.into() } else { Scope::from_all(NEWEST) };
        let mut rules = Ruleset::default()
            .handle_access(all)?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(scope)?
            .create()?;
        for place in &places.list {
            let more = if places.execute { AccessFs::Execute.into() } else { BitFlags::EMPTY };
            rules = add(rules, &place.path, place.write, more)?;
        }
        if places.processes {
            for path in PROCESSES {
                rules = add(rules, Path::new(path), false, BitFlags::EMPTY)?;
            }
            if profile.names_threads() {
                rules = add(rules, Path::new("/proc/self/task"), false, AccessFs::WriteFile | AccessFs::Truncate)?;
            }
        }
        if places.shared {
            let mut more = AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate;
            if std::env::var_os(CODE).is_some() {
                more |= AccessFs::MakeDir | AccessFs::RemoveDir;
            }
            rules = add(rules, Path::new(SHARED_MEMORY), true, more)?;
        }
        if places.scratch
            && let Ok(scratch) = PathFd::new("/tmp")
        {
            let never = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock;
            rules = rules.add_rule(PathBeneath::new(scratch, all & !never))?;
        }
        Ok(Rules(rules))
    }

    pub(super) fn enforce(self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self.0.restrict_self()?.ruleset {
            RulesetStatus::NotEnforced => Err("not enforced".into()),
            _ => Ok(()),
        }
    }
}

fn add(
    rules: RulesetCreated,
    path: &Path,
    write: bool,
    more: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // What is not there needs no rule.
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let mut access = BitFlags::from(AccessFs::ReadFile) | more;
    if path.is_dir() {
        access |= AccessFs::ReadDir;
    }
    if write {
        access |= AccessFs::WriteFile | AccessFs::IoctlDev;
    }
    rules.add_rule(PathBeneath::new(opened, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_when_a_link_leads_to_one_then_both_are_kept() {
        let folder = std::env::temp_dir().join(format!("gpuferry-places-{}", std::process::id()));
        fs::create_dir_all(folder.join("real/deep")).expect("folders");
        fs::write(folder.join("real/deep/file"), "").expect("a file");
        std::os::unix::fs::symlink("real", folder.join("link")).expect("a link");
        let mut places = Places::default();
        places.add(&folder.join("link/deep/file"), false);
        places.add(&folder.join("nothing"), false);
        fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(places.links, [(folder.join("link"), PathBuf::from("real"))]);
        assert_eq!(places.list, [Place { path: folder.join("real/deep/file"), write: false }]);
    }

    #[test]
    fn places_of_the_front_are_none_and_of_a_worker_hold_no_home() {
        assert_eq!(Places::of(Profile::Front, &[]), Places::default());
        for profile in [Profile::Cpu, Profile::Nvidia, Profile::OpenCl] {
            let places = Places::of(profile, &[]);
            assert!(places.list.iter().all(|place| !Path::new("/etc/shadow").starts_with(&place.path)), "{places:?}");
            assert!(places.list.iter().all(|place| !place.write || place.path.starts_with("/dev")), "{places:?}");
            assert!(places.list.iter().all(|place| place.path.components().count() > 1));
        }
    }
}
