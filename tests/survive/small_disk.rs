//! A small disk of one's own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Size of the disk in megabytes: a run with its checkpoints takes 20.
const MEGABYTES: u64 = 32;

/// File system in memory, mounted where only one process and its children see it. Gone when dropped.
pub(crate) struct SmallDisk {
    /// Lives as long as the mount.
    holder: Child,
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it; why that cannot be done if it cannot: it takes user namespaces or the rights of root.
    pub(crate) fn mount(place: &Path) -> Result<Self, String> {
        let as_root_of_its_own = Self::try_mount(place, &["--mount", "--map-root-user"]);
        as_root_of_its_own.or_else(|_| Self::try_mount(place, &["--mount"]))
    }

    fn try_mount(place: &Path, flags: &[&str]) -> Result<Self, String> {
        let script = format!("mount -t tmpfs -o size={MEGABYTES}m tmpfs \"$0\" && echo mounted && read -r _");
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-c", &script]).arg(place);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line != "mounted\n" {
            let output = holder.wait_with_output().unwrap();
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        // What the process sees, the system shows to its owner.
        let path = PathBuf::from(format!("/proc/{}/root{}", holder.id(), place.display()));
        match fs::read_dir(&path) {
            Ok(_) => Ok(Self { holder, path }),
            Err(error) => {
                holder.kill().unwrap();
                holder.wait().unwrap();
                Err(format!("{}: {error}", path.display()))
            }
        }
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all room but so many bytes.
    pub(crate) fn fill(&self, bytes_left: u64) {
        let block = vec![0; 1 << 12];
        let mut ballast = File::create(self.ballast()).unwrap();
        let full = loop {
            match ballast.write_all(&block) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        let taken = ballast.metadata().unwrap().len();
        ballast.set_len(taken.saturating_sub(bytes_left)).unwrap();
    }

    /// Makes room.
    pub(crate) fn relieve(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Without its input the script ends, and the mount with it.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
