//! Containers of PyTorch: zip archives and streams of pickles.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use super::{
    ArchiveError, ArchiveKind, Parsed,
    entry::Entry,
    pickle::{Pickle, Value},
    state_dict,
    storage::TensorView,
    zip,
};

/// `0x1950a86a20f9469cfc6c`, with which a stream begins.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only version of streams.
const STREAM_VERSION: i64 = 1001;

/// What `torch.save` writes since PyTorch 1.6, and `torch.jit.save`.
pub(super) fn parse_zip(bytes: &[u8]) -> Result<Parsed, ArchiveError> {
    let directory = zip::directory(bytes)?;
    // All entries are below a folder with the file's name.
    let root = directory.names().find_map(|name| name.strip_suffix("data.pkl"));
    let root = root.ok_or_else(|| ArchiveError::zip("there is no data.pkl in it"))?;
    let named = |name: &str| directory.get(&format!("{root}{name}"));
    if let Some(order) = named("byteorder")?
        && bytes[order].starts_with(b"big")
    {
        return Err(ArchiveError::structure(
            "it was written on a big-endian machine, which is not read",
        ));
    }
    let main = named("data.pkl")?.unwrap_or_default();
    let pickle = Pickle::parse(&bytes[main])?;
    let storage = |name: &str, view: &TensorView<'_>| {
        named(&format!("data/{}", view.storage.key))?.ok_or_else(|| {
            ArchiveError::tensor(
                name,
                format!("has its values in data/{}, which is missing", view.storage.key),
            )
        })
    };
    let code = format!("{root}code/");
    let is_script = directory.names().any(|name| name.starts_with(&code));
    Ok(Parsed {
        kind: if is_script {
            ArchiveKind::TorchScript
        } else {
            ArchiveKind::TorchZip
        },
        entries: entries(&pickle, storage)?,
        metadata: HashMap::new(),
    })
}

/// What `torch.save` wrote before PyTorch 1.6: magic number, version, facts about the machine, the object, the keys of
/// its storages; then the storages, each as the number of its elements and these.
pub(super) fn parse_legacy(bytes: &[u8]) -> Result<Parsed, ArchiveError> {
    let mut at = 0;
    let mut next = || {
        let pickle = Pickle::parse(&bytes[at..])?;
        at += pickle.len;
        Ok::<_, ArchiveError>(pickle)
    };
    if !matches!(next()?.root(), Value::Bytes(magic) if *magic == MAGIC) {
        return Err(ArchiveError::structure(
            "it is a pickle, but not of torch.save: there is no magic number at its beginning",
        ));
    }
    if !matches!(next()?.root(), Value::Int(STREAM_VERSION)) {
        return Err(ArchiveError::structure(format!(
            "it is a stream of another version than {STREAM_VERSION}"
        )));
    }
    let machine = next()?;
    if let Some(Value::Bool(false)) = machine.get(machine.root(), "little_endian") {
        return Err(ArchiveError::structure(
            "it was written on a big-endian machine, which is not read",
        ));
    }
    let object = next()?;
    let keys = next()?;
    let storages = stream_storages(bytes, at, &object, &keys)?;
    let storage = |name: &str, view: &TensorView<'_>| {
        storages.get(view.storage.key.as_ref()).cloned().ok_or_else(|| {
            ArchiveError::tensor(
                name,
                format!("has its values in a missing storage {}", view.storage.key),
            )
        })
    };
    Ok(Parsed {
        kind: ArchiveKind::TorchLegacy,
        entries: entries(&object, storage)?,
        metadata: HashMap::new(),
    })
}

/// Where the storages of a stream are, which follow each other from `at` on in the order of `keys`.
fn stream_storages<'k>(
    bytes: &[u8],
    mut at: usize,
    object: &Pickle<'_>,
    keys: &'k Pickle<'_>,
) -> Result<HashMap<&'k str, Range<usize>>, ArchiveError> {
    let sizes = object.storage_sizes();
    let Value::List(list) = keys.root() else {
        return Err(ArchiveError::structure("its storages have no list of keys"));
    };
    let mut storages = HashMap::new();
    for key in list {
        let Value::Str(key) = keys.value(*key) else {
            return Err(ArchiveError::structure("a storage has a key that is no text"));
        };
        let cut = || ArchiveError::structure(format!("it is cut off: storage {key} is not complete"));
        let size = sizes.get(*key).copied();
        let size = size.ok_or_else(|| ArchiveError::structure(format!("nothing says what type storage {key} has")))?;
        let (count, _) = bytes
            .get(at..)
            .and_then(|rest| rest.split_first_chunk::<8>())
            .ok_or_else(cut)?;
        let len = usize::try_from(u64::from_le_bytes(*count))
            .ok()
            .and_then(|count| count.checked_mul(size));
        let start = at + 8;
        let end = len
            .and_then(|len| start.checked_add(len))
            .filter(|end| *end <= bytes.len())
            .ok_or_else(cut)?;
        storages.insert(*key, start..end);
        at = end;
    }
    Ok(storages)
}

/// The tensors of a checkpoint, each held against the storage that it views.
fn entries(
    pickle: &Pickle<'_>,
    storage: impl Fn(&str, &TensorView<'_>) -> Result<Range<usize>, ArchiveError>,
) -> Result<BTreeMap<String, Entry>, ArchiveError> {
    let entry = |(name, view): (String, &TensorView<'_>)| {
        let offset = view.storage.first.checked_add(view.offset);
        let offset = offset.ok_or_else(|| ArchiveError::tensor(&name, "begins impossibly far in its storage"))?;
        let bytes = storage(&name, view)?;
        let entry = Entry::view(
            &name,
            view.storage.dtype,
            view.shape.clone(),
            &view.strides,
            offset,
            bytes,
        )?;
        Ok((name, entry))
    };
    state_dict::tensors(pickle)?.into_iter().map(entry).collect()
}
