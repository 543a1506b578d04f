//! From the root of a checkpoint to named tensors.

use std::collections::BTreeMap;

use super::{
    ArchiveError,
    pickle::{Pickle, Value},
    storage::TensorView,
};

/// Keys below which trainers put a model's weights.
const PARTS: [&str; 4] = ["state_dict", "model", "model_state_dict", "module"];
/// Tables of a module that `state_dict()` does not name.
const TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];
/// What wrappers put in front of every name: data-parallel training and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];
/// Deepest nesting of modules.
const MAX_DEPTH: usize = 32;
/// Longest name, in bytes.
const MAX_NAME: usize = 1024;
/// Most items looked at; a dictionary that is shared counts as often as it is reached.
const MAX_ITEMS: usize = 1 << 17;

/// The tensors of a checkpoint by name. Of several parts the model is taken.
pub(super) fn tensors<'a, 'p>(pickle: &'p Pickle<'a>) -> Result<BTreeMap<String, &'p TensorView<'a>>, ArchiveError> {
    let root = pickle.root();
    let has_tensors = |value: &Value<'a>| {
        let mut items = pickle.items(value).unwrap_or_default().iter();
        items.any(|(_, value)| matches!(pickle.value(*value), Value::Tensor(_)))
    };
    let part = PARTS
        .iter()
        .find_map(|part| pickle.get(root, part).filter(|part| pickle.items(part).is_some()));
    let root = match part {
        Some(part) if !has_tensors(root) => part,
        _ => root,
    };
    let mut found = Found {
        pickle,
        tensors: BTreeMap::new(),
        items: 0,
    };
    found.walk(root, "", 0)?;
    Ok(unwrapped(found.tensors))
}

struct Found<'a, 'p> {
    pickle: &'p Pickle<'a>,
    tensors: BTreeMap<String, &'p TensorView<'a>>,
    items: usize,
}

impl<'a, 'p> Found<'a, 'p> {
    fn walk(&mut self, value: &'p Value<'a>, prefix: &str, depth: usize) -> Result<(), ArchiveError> {
        if depth > MAX_DEPTH {
            return Err(ArchiveError::structure(format!(
                "its modules are nested more than {MAX_DEPTH} deep"
            )));
        }
        for (key, value) in self.pickle.items(value).unwrap_or_default() {
            self.items += 1;
            if self.items > MAX_ITEMS {
                return Err(ArchiveError::structure(format!("it has more than {MAX_ITEMS} entries")));
            }
            let Value::Str(key) = self.pickle.value(*key) else {
                continue;
            };
            if prefix.len() + key.len() > MAX_NAME {
                return Err(ArchiveError::structure(format!(
                    "it has a name of more than {MAX_NAME} bytes"
                )));
            }
            let name = match prefix {
                "" => (*key).to_owned(),
                _ => format!("{prefix}.{key}"),
            };
            match self.pickle.value(*value) {
                Value::Tensor(tensor) => drop(self.tensors.insert(name, tensor)),
                Value::Object { class, .. } if class.module == "torch._utils" && class.name.starts_with("_rebuild") => {
                    return Err(ArchiveError::tensor(
                        &name,
                        format!("is made by `{class}`, which is not read"),
                    ));
                }
                inner if TABLES.contains(key) => self.walk(inner, prefix, depth + 1)?,
                inner => self.walk(inner, &name, depth + 1)?,
            }
        }
        Ok(())
    }
}

/// The names without what a wrapper put in front of all of them.
fn unwrapped<T>(mut tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    // Twice: a compiled model may be trained in parallel.
    for wrapper in WRAPPERS.iter().chain(&WRAPPERS) {
        if tensors.keys().all(|name| name.starts_with(wrapper)) {
            let rest = |(name, tensor): (String, T)| (name[wrapper.len()..].to_owned(), tensor);
            tensors = tensors.into_iter().map(rest).collect();
        }
    }
    tensors
}
