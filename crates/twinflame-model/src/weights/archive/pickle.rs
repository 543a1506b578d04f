//! What a pickle holds, as descriptions of values.

mod machine;

use std::{borrow::Cow, collections::HashMap};

#[cfg(test)]
pub(super) use machine::MAX_VALUES;
pub(super) use machine::PROTO;

use super::storage::{Storage, TensorView};

/// A value of a pickle; others are referred to by number.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// `None`, floats and whatever else says nothing here.
    Other,
    Bool(bool),
    Int(i64),
    Str(&'a str),
    /// Bytes, and numbers of more than 64 bits.
    Bytes(&'a [u8]),
    List(Vec<u32>),
    Tuple(Vec<u32>),
    /// Keys and values in the order in which they were set.
    Dict(Vec<(u32, u32)>),
    Global(Global<'a>),
    Storage(Box<Storage<'a>>),
    Tensor(Box<TensorView<'a>>),
    /// What a call that is not understood would have made.
    Object {
        class: Global<'a>,
        attributes: Option<u32>,
    },
}

/// A function or class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Global<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

impl std::fmt::Display for Global<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// A pickle that was read to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: u32,
    /// Bytes that it took.
    pub(super) len: usize,
}

impl<'a> Pickle<'a> {
    pub(super) fn root(&self) -> &Value<'a> {
        self.value(self.root)
    }

    pub(super) fn value(&self, id: u32) -> &Value<'a> {
        // Numbers come from the machine, which gives none that it has not made.
        self.values.get(id as usize).unwrap_or(&Value::Other)
    }

    /// Bytes of an element of every storage that occurs, by its key.
    pub(super) fn storage_sizes(&self) -> HashMap<&str, usize> {
        let sized = self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some((storage.key.as_ref(), storage.dtype.size())),
            _ => None,
        });
        sized.collect()
    }

    /// The items of a dictionary, or of the attributes of an object.
    pub(super) fn items<'p>(&'p self, value: &'p Value<'a>) -> Option<&'p [(u32, u32)]> {
        let value = match value {
            Value::Object { attributes, .. } => self.value((*attributes)?),
            other => other,
        };
        // Attributes that are a dictionary, not an object once more.
        match value {
            Value::Dict(items) => Some(items),
            _ => None,
        }
    }

    /// The value of the last of a dictionary's items that has this key.
    pub(super) fn get<'p>(&'p self, value: &'p Value<'a>, key: &str) -> Option<&'p Value<'a>> {
        let items = self.items(value)?;
        let found = items
            .iter()
            .rfind(|(name, _)| matches!(self.value(*name), Value::Str(name) if *name == key));
        found.map(|(_, value)| self.value(*value))
    }
}

/// The name of a storage: a text of the file, or a number.
pub(super) fn key<'a>(value: Option<&Value<'a>>) -> Option<Cow<'a, str>> {
    match value? {
        Value::Str(key) => Some(Cow::Borrowed(*key)),
        Value::Int(key) => Some(Cow::Owned(key.to_string())),
        _ => None,
    }
}
