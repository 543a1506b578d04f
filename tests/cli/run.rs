//! Runs the binary as a user would.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// An empty folder to run in.
pub(crate) struct Folder(TempDir);

/// What a command left behind.
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file of the folder.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Runs `twinflame` here, on the processor unless the arguments choose a device.
    pub(crate) fn twinflame(&self, args: &[&str]) -> Outcome {
        self.twinflame_with(&[], args)
    }

    /// The same with variables of the environment, and without the credentials of whoever runs the test.
    pub(crate) fn twinflame_with(&self, vars: &[(&str, &str)], args: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinflame"));
        for (name, _) in std::env::vars_os() {
            if ["AWS_", "GOOGLE_"]
                .iter()
                .any(|cloud| name.to_string_lossy().starts_with(cloud))
            {
                command.env_remove(name);
            }
        }
        let output = command
            .args(args)
            .env("NO_PROXY", "127.0.0.1")
            .envs(vars.iter().copied())
            .current_dir(self.path())
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        self.outcome(&output)
    }

    /// Runs a command that must fail with a message and nothing else; the message.
    pub(crate) fn failure(&self, args: &[&str]) -> String {
        let outcome = self.twinflame(args);
        assert!(!outcome.succeeded, "{args:?} passed: {}", outcome.stdout);
        for word in ["panicked", "internal error", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!outcome.stderr.contains(word), "{args:?}: {}", outcome.stderr);
        }
        outcome.stderr
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn success(&self, args: &[&str]) -> String {
        let outcome = self.twinflame(args);
        assert!(outcome.succeeded, "{args:?} failed: {}", outcome.stderr);
        outcome.stdout
    }

    fn outcome(&self, output: &Output) -> Outcome {
        Outcome {
            succeeded: output.status.success(),
            stdout: self.portable(&output.stdout),
            stderr: self.portable(&output.stderr),
        }
    }

    /// Text with this folder's path, and path separators, as on every machine.
    fn portable(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let folder = self.path().display().to_string();
        text.replace(&folder, "FOLDER").replace('\\', "/")
    }
}
