//! Storing what was computed.

use std::{collections::HashMap, fs, path::Path};

use twinflame_model::weights::{FileDType, save_tensors};

use super::{Kind, Verification, VerifyError, fixture::CONFIG};
use crate::eval::write_whole;

impl Verification {
    /// Stores what was computed under the reference's names, and what it was computed from: a fixture of its own. Every
    /// file is complete or not there.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn write(&self, dir: &Path) -> Result<(), VerifyError> {
        fs::create_dir_all(dir).map_err(|source| VerifyError::write(dir, source))?;
        write_whole(&dir.join(CONFIG), format!("{:#}\n", self.config).as_bytes())?;
        if self.kind != Kind::Schedules && self.kind != Kind::PositionTables && self.kind != Kind::Preprocessing {
            copy(&self.fixture.weights_path()?, &dir.join("weights.safetensors"))?;
        }
        let inputs = self.fixture.path("inputs");
        if inputs.exists() {
            copy(&inputs, &dir.join("inputs.safetensors"))?;
        }
        if let (Kind::Preprocessing, Some(images)) = (self.kind, self.config["images"].as_object()) {
            for file in images.keys() {
                copy(&self.fixture.dir().join(file), &dir.join(file))?;
            }
        }
        for check in self.checks.iter().filter(|check| check.is_complete) {
            let tensors: Vec<_> = check.tensors.clone().into_iter().collect();
            let path = dir.join(format!("{}.safetensors", check.file));
            save_tensors(&path, tensors, FileDType::F32, HashMap::new())?;
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), VerifyError> {
    let bytes = fs::read(from).map_err(|source| VerifyError::read(from, source))?;
    Ok(write_whole(to, &bytes)?)
}
