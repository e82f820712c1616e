//! What the front and the workers give up before they meet a byte of a guest's.
//!
//! The layers, in the order in which a process puts them on: namespaces of its own ([`namespaces`]; a worker is born in its),
//! a root folder of its own ([`root`]), limits ([`limits`]), another user and no capabilities ([`identity`]), Landlock
//! ([`files`]), and a filter of system calls that kills ([`calls`]). Each holds by itself, so that a hole in one is not a
//! hole in the whole.
//!
//! What this machine cannot do is found out once, by the front ([`survey`]): each missing layer is a line of the log that
//! begins with `DEGRADED`, and with `--require-sandbox` the front does not start. A process in which a layer fails that the
//! survey found does not go on at all.

pub mod calls;
pub mod files;
pub mod identity;
pub mod limits;
pub mod namespaces;
pub mod root;

use std::fmt;

pub use identity::User;

/// Which paths and system calls a worker's library needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The front: nothing at all.
    Front,
    /// The CPU device of this project: libraries, and memory that can be executed.
    Cpu,
    /// NVIDIA's driver: its device nodes as well.
    Nvidia,
    /// An OpenCL platform: also a place to write compiled kernels to.
    OpenCl,
}

impl Profile {
    /// NVIDIA's driver writes the names of its threads into `/proc/self/task`, and does not start where it cannot. Those files
    /// are the process's own only while others of its user could look inside, had they the right to.
    pub(crate) fn names_threads(self) -> bool {
        matches!(self, Profile::Nvidia | Profile::OpenCl)
    }
}

/// How strict to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// No sandbox, for debuggers and sanitizers.
    Off,
    /// What the machine can do.
    #[default]
    Try,
    /// All layers, or no start.
    Require,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How strict to be.
    pub mode: Mode,
    /// The user to become, where the process starts as root; `None` for [`User::NOBODY`].
    pub user: Option<User>,
    /// A forbidden system call says its number in the log before the process ends by it.
    pub says_calls: bool,
    /// Numbers of system calls to allow besides the usual ones.
    pub more_calls: Vec<u32>,
    /// Layers to leave out.
    pub without: Vec<Layer>,
}

/// A layer by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// All namespaces, and with them the root folder.
    Namespaces,
    /// The network namespace.
    Network,
    /// The root folder.
    Root,
    /// Another user.
    User,
    /// Landlock.
    Landlock,
    /// The filter of system calls.
    Calls,
}

impl std::str::FromStr for Layer {
    type Err = String;

    fn from_str(text: &str) -> Result<Layer, String> {
        Ok(match text {
            "namespaces" => Layer::Namespaces,
            "network" => Layer::Network,
            "root" => Layer::Root,
            "user" => Layer::User,
            "landlock" => Layer::Landlock,
            "calls" => Layer::Calls,
            _ => return Err("a layer is namespaces, network, root, user, landlock or calls".into()),
        })
    }
}

/// A layer that is not there, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The layer.
    pub layer: &'static str,
    /// Why, and what would bring it.
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DEGRADED: no {}: {}", self.layer, self.why)
    }
}

/// A layer that the survey found and that failed all the same.
#[derive(Debug, thiserror::Error)]
#[error("sandbox: {layer}: {source}")]
pub struct Error {
    layer: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    fn of<E: Into<Box<dyn std::error::Error + Send + Sync>>>(layer: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error { layer, source: source.into() }
    }
}

/// What this machine lets a process give up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Namespaces (`CLONE_NEW*`).
    pub namespaces: libc::c_int,
    /// A root folder of its own.
    pub root: bool,
    /// Another user than root, or the one that started it.
    pub user: bool,
    /// Landlock.
    pub files: bool,
    /// The filter.
    pub calls: bool,
}

impl Layers {
    /// As a worker's argument.
    #[must_use]
    pub fn to_word(&self) -> String {
        let bits = [self.root, self.user, self.files, self.calls];
        let bits = bits.iter().enumerate().fold(0, |word, (at, bit)| word | u32::from(*bit) << at);
        format!("{}:{bits}", self.namespaces)
    }

    /// From a worker's argument.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Layers> {
        let (namespaces, bits) = word.split_once(':')?;
        let bits: u32 = bits.parse().ok()?;
        let bit = |at: u32| bits >> at & 1 == 1;
        Some(Layers { namespaces: namespaces.parse().ok()?, root: bit(0), user: bit(1), files: bit(2), calls: bit(3) })
    }
}

/// Finds out which layers there are. The process must have one thread.
#[must_use]
pub fn survey(settings: &Settings) -> (Layers, Vec<Missing>) {
    if settings.mode == Mode::Off {
        let why = "--no-sandbox is given: leave it out".to_owned();
        return (Layers::default(), vec![Missing { layer: "sandbox", why }]);
    }
    let mut missing = Vec::new();
    let (namespaces, root) = namespaces::survey(&mut missing);
    let user = identity::survey(settings.user, &mut missing);
    let files = files::survey(&mut missing);
    let calls = calls::survey(&mut missing);
    let mut layers = Layers { namespaces, root, user, files, calls };
    for layer in &settings.without {
        let name = match layer {
            Layer::Namespaces => {
                (layers.namespaces, layers.root) = (0, false);
                "namespaces"
            }
            Layer::Network => {
                layers.namespaces &= !libc::CLONE_NEWNET;
                "network namespace"
            }
            Layer::Root => {
                layers.root = false;
                "root folder of its own"
            }
            Layer::User => {
                layers.user = false;
                "other user"
            }
            Layer::Landlock => {
                layers.files = false;
                "Landlock"
            }
            Layer::Calls => {
                layers.calls = false;
                "system call filter"
            }
        };
        missing.push(Missing { layer: name, why: "--without leaves it out".into() });
    }
    (layers, missing)
}

/// Puts the calling process into its sandbox. It has one thread, and the namespaces already.
///
/// # Errors
/// [`Error`]: a layer that the survey found fails. The process must not go on.
pub fn enter(profile: Profile, settings: &Settings, layers: &Layers, places: &files::Places) -> Result<(), Error> {
    if settings.mode == Mode::Off {
        if profile != Profile::Front {
            crate::os::die_with_parent();
        }
        return Ok(());
    }
    if layers.root {
        root::change(places).map_err(Error::of("root folder"))?;
    }
    limits::set(profile).map_err(Error::of("limits"))?;
    identity::bound_rights();
    // Opened by the user that started it, enforced for the one that it becomes.
    let rules =
        if layers.files { Some(files::Rules::new(profile, places).map_err(Error::of("Landlock"))?) } else { None };
    if layers.user {
        identity::change(settings.user).map_err(Error::of("user"))?;
    }
    identity::drop_rights(profile.names_threads()).map_err(Error::of("capabilities"))?;
    if profile != Profile::Front {
        // The kernel forgets it when the user changes.
        crate::os::die_with_parent();
    }
    if let Some(rules) = rules {
        rules.enforce().map_err(Error::of("Landlock"))?;
    }
    if layers.calls {
        calls::enforce(profile, settings).map_err(Error::of("system calls"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_when_written_as_a_word_then_are_read_back() {
        for bits in 0..16u32 {
            let bit = |at: u32| bits >> at & 1 == 1;
            let layers =
                Layers { namespaces: libc::CLONE_NEWNET, root: bit(0), user: bit(1), files: bit(2), calls: bit(3) };
            assert_eq!(Layers::from_word(&layers.to_word()), Some(layers));
        }
        for bad in ["", "1", "x:1", "1:x"] {
            assert_eq!(Layers::from_word(bad), None, "{bad}");
        }
    }
}
