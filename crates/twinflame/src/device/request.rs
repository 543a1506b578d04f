use std::str::FromStr;

use super::{Backend, DeviceError};

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The best adapter that is there.
    Auto,
    /// A named backend.
    Backend {
        /// The backend named.
        backend: Backend,
        /// Which of its adapters.
        pick: Pick,
    },
}

/// Which adapter of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The best GPU.
    Best,
    /// The GPU of this index in the list of `twinflame devices`.
    Nth(usize),
    /// The software rasteriser, which only tests want.
    Software,
}

impl FromStr for Request {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { given: text.to_owned() };
        let lower = text.trim().to_ascii_lowercase();
        if lower == "auto" {
            return Ok(Self::Auto);
        }
        let (name, index) = match lower.split_once(':') {
            Some((name, index)) => (name, Some(index)),
            None => (lower.as_str(), None),
        };
        let backend = Backend::from_name(name).ok_or_else(unknown)?;
        let pick = match index {
            None => Pick::Best,
            Some(_) if backend.is_host() => return Err(DeviceError::Unindexed { backend }),
            Some("cpu") if backend == Backend::Wgpu => Pick::Software,
            Some(index) => Pick::Nth(index.parse().map_err(|_| DeviceError::Index {
                backend,
                given: index.to_owned(),
            })?),
        };
        Ok(Self::Backend { backend, pick })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_parses() {
        let backend = |backend, pick| Request::Backend { backend, pick };
        for (text, expected) in [
            ("auto", Request::Auto),
            ("cpu", backend(Backend::Cpu, Pick::Best)),
            ("ndarray", backend(Backend::NdArray, Pick::Best)),
            ("wgpu", backend(Backend::Wgpu, Pick::Best)),
            ("wgpu:1", backend(Backend::Wgpu, Pick::Nth(1))),
            ("wgpu:cpu", backend(Backend::Wgpu, Pick::Software)),
            ("Vulkan:0", backend(Backend::Vulkan, Pick::Nth(0))),
            ("metal", backend(Backend::Metal, Pick::Best)),
            ("cuda:3", backend(Backend::Cuda, Pick::Nth(3))),
            ("rocm", backend(Backend::Rocm, Pick::Best)),
        ] {
            assert_eq!(text.parse::<Request>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn other_forms_say_what_is_wrong() {
        for (text, part) in [
            ("gpu", "unknown device `gpu`"),
            ("", "unknown device ``"),
            ("cpu:0", "takes no index"),
            ("cuda:x", "index `x`"),
            ("cuda:-1", "index `-1`"),
            ("vulkan:cpu", "index `cpu`"),
        ] {
            let message = text.parse::<Request>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
