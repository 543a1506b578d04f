//! The directory of a zip archive whose entries are stored as they are, which is how PyTorch writes them: tensors are
//! read in place. <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>

use std::{collections::BTreeMap, ops::Range};

use super::ArchiveError;

/// How an archive begins: the header of its first entry.
pub(super) const SIGNATURE: &[u8] = b"PK\x03\x04";
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const END_64_LOCATOR: &[u8] = b"PK\x06\x07";
/// Size of the end record without its comment, which has at most 64 KiB.
const END_SIZE: usize = 22;
/// Id of the extra field with 64-bit sizes.
const EXTRA_64: u64 = 1;
/// Stands for a number that is in the 64-bit record.
const MOVED_32: u64 = u32::MAX as u64;

/// Entries by name.
#[derive(Debug)]
pub(super) struct Directory {
    /// Ranges of the archive; `None` for what is compressed, as the code in TorchScript archives is.
    entries: BTreeMap<String, Option<Range<usize>>>,
}

impl Directory {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Where an entry is; `None` if there is none of this name.
    pub(super) fn get(&self, name: &str) -> Result<Option<Range<usize>>, ArchiveError> {
        match self.entries.get(name) {
            None => Ok(None),
            Some(Some(range)) => Ok(Some(range.clone())),
            Some(None) => Err(ArchiveError::zip(format!(
                "entry `{name}` is compressed, which torch.save does not do: unpack it and pack it without compression"
            ))),
        }
    }
}

/// Lists an archive.
pub(super) fn directory(bytes: &[u8]) -> Result<Directory, ArchiveError> {
    let end = end_record(bytes)?;
    let mut at = directory_start(bytes, end)?;
    let mut entries = BTreeMap::new();
    // The number of entries in the end record is not needed: the directory ends where no entry begins.
    while bytes.get(at..at + 4) == Some(DIRECTORY_ENTRY) {
        let header = Header { bytes, at };
        let [name_len, extra_len, comment_len] = [28, 30, 32].map(|field| header.number(field, 2));
        let [name_len, extra_len, comment_len] = [name_len? as usize, extra_len? as usize, comment_len? as usize];
        let name = header.slice(46, name_len)?;
        let name = String::from_utf8_lossy(name).into_owned();
        let extra = header.slice(46 + name_len, extra_len)?;
        let [stored, size, offset] = sizes(&header, extra)?;
        let is_compressed = header.number(10, 2)? != 0 || stored != size;
        let range = data(bytes, offset, stored)
            .ok_or_else(|| ArchiveError::zip(format!("entry `{name}` does not lie within the file")))?;
        entries.insert(name, (!is_compressed).then_some(range));
        at += 46 + name_len + extra_len + comment_len;
    }
    if entries.is_empty() {
        return Err(ArchiveError::zip("it has no directory: it is cut off"));
    }
    Ok(Directory { entries })
}

/// A record at some place of the archive, whose fields are counted from there.
struct Header<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Header<'a> {
    fn slice(&self, field: usize, len: usize) -> Result<&'a [u8], ArchiveError> {
        let start = self.at.checked_add(field);
        start
            .and_then(|start| self.bytes.get(start..start.checked_add(len)?))
            .ok_or_else(|| ArchiveError::zip("its directory is cut off"))
    }

    /// A little-endian number of `len` bytes.
    fn number(&self, field: usize, len: usize) -> Result<u64, ArchiveError> {
        Ok(little_endian(self.slice(field, len)?))
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Where the end record begins: the last one in the file.
fn end_record(bytes: &[u8]) -> Result<usize, ArchiveError> {
    let first = bytes.len().saturating_sub(END_SIZE + usize::from(u16::MAX));
    let tail = &bytes[first..];
    let found = tail.windows(END.len()).rposition(|window| window == END);
    found
        .map(|at| first + at)
        .ok_or_else(|| ArchiveError::zip("it has no end record: it is cut off"))
}

fn directory_start(bytes: &[u8], end: usize) -> Result<usize, ArchiveError> {
    let record = Header { bytes, at: end };
    let mut start = record.number(16, 4)?;
    if let Some(locator) = end.checked_sub(20)
        && bytes.get(locator..locator + 4) == Some(END_64_LOCATOR)
    {
        let end_64 = Header { bytes, at: locator }.number(8, 8)?;
        let end_64 = Header {
            bytes,
            at: usize::try_from(end_64).unwrap_or(usize::MAX),
        };
        if end_64.slice(0, 4)? == END_64 {
            start = end_64.number(48, 8)?;
        }
    }
    let start = usize::try_from(start).ok().filter(|start| *start < bytes.len());
    start.ok_or_else(|| ArchiveError::zip("its directory does not lie within the file"))
}

/// Stored size, size and place of an entry, from its 64-bit extra field where they are too large for the header.
fn sizes(header: &Header<'_>, extra: &[u8]) -> Result<[u64; 3], ArchiveError> {
    let [stored, size, offset] = [20, 24, 42].map(|field| header.number(field, 4));
    let (mut stored, mut size, mut offset) = (stored?, size?, offset?);
    let mut rest = extra;
    while let Some((head, body)) = rest.split_first_chunk::<4>() {
        let len = little_endian(&head[2..]) as usize;
        let body_len = len.min(body.len());
        if little_endian(&head[..2]) == EXTRA_64 {
            let mut numbers = body[..body_len].chunks_exact(8).map(little_endian);
            // In this order, each only if it did not fit.
            for number in [&mut size, &mut stored, &mut offset] {
                if *number == MOVED_32 {
                    *number = numbers
                        .next()
                        .ok_or_else(|| ArchiveError::zip("a 64-bit size is missing"))?;
                }
            }
        }
        rest = &body[body_len..];
    }
    Ok([stored, size, offset])
}

/// The bytes of an entry, behind its own header.
fn data(bytes: &[u8], offset: u64, size: u64) -> Option<Range<usize>> {
    let header = Header {
        bytes,
        at: usize::try_from(offset).ok()?,
    };
    if header.slice(0, 4).ok()? != SIGNATURE {
        return None;
    }
    let [name, extra] = [26, 28].map(|field| header.number(field, 2).ok());
    let start = header.at.checked_add(30 + name? as usize + extra? as usize)?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    (end <= bytes.len()).then_some(start..end)
}
