//! What a shard holds: the places of its samples, and what is wrong with the rest.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tar::Archive;

use super::WebDatasetConfig;
use super::shard::{Shard, is_unread};
use crate::dataset::fault::Fault;
use crate::dataset::texts_of;

/// Longest caption member, in bytes: a caption is a text of some lines.
const MAX_CAPTION_BYTES: u32 = 1 << 20;
/// A header is read with what follows it at once: captions are short and come right behind.
const BUFFER_BYTES: usize = 4096;
/// Size of a block, and what members are padded to.
const BLOCK: u64 = 512;

/// Where a member's bytes are in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) at: u64,
    pub(super) len: u32,
}

impl Span {
    /// From its first byte to the first behind it.
    #[cfg(feature = "remote")]
    pub(super) fn range(self) -> std::ops::Range<u64> {
        self.at..self.at.saturating_add(self.len.into())
    }
}

/// Where a sample is in its shard: 32 bytes, all that is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) image: Span,
    pub(super) caption: Span,
}

/// A sample that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faulty {
    pub(super) key: String,
    pub(super) fault: Fault,
    pub(super) detail: String,
}

/// What reading a shard from end to end found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) faulty: Vec<Faulty>,
    /// Why the shard could not be read to its end, if it could not.
    pub(super) broken: Option<String>,
    /// Whether that is for want of an answer from disk or server, and says nothing of the shard.
    pub(super) unread: bool,
}

/// The members of one name.
#[derive(Debug, Default)]
struct Group {
    key: String,
    /// Endings seen, for messages.
    endings: Vec<String>,
    /// By position in `image_keys`.
    images: Vec<Option<Span>>,
    caption: Option<Span>,
    captions: Vec<String>,
    /// What is wrong with the caption.
    wrong: Option<(Fault, String)>,
    twice: Option<String>,
}

/// Scans a shard; `take` gets the samples with key and captions. What comes before a broken place counts.
pub(super) fn scan(shard: &Shard, config: &WebDatasetConfig, mut take: impl FnMut(Entry, &str, Vec<String>)) -> Scan {
    let mut scan = Scan::default();
    if let Err(error) = scan_into(&mut scan, shard, config, &mut take) {
        scan.broken = Some(error.to_string());
        scan.unread = is_unread(&error);
    }
    scan
}

/// Takes a sample.
type Take<'a> = &'a mut dyn FnMut(Entry, &str, Vec<String>);

fn scan_into(scan: &mut Scan, shard: &Shard, config: &WebDatasetConfig, take: Take<'_>) -> io::Result<()> {
    match shard {
        Shard::File(path) => {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            scan_members(scan, BufReader::with_capacity(BUFFER_BYTES, file), len, config, take)
        }
        #[cfg(feature = "remote")]
        Shard::Object(object) => {
            let (len, reader) = object.open()?;
            scan_members(scan, reader, len, config, take)
        }
    }
}

fn scan_members(
    scan: &mut Scan,
    reader: impl Read + Seek,
    len: u64,
    config: &WebDatasetConfig,
    take: Take<'_>,
) -> io::Result<()> {
    if len == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty"));
    }
    let mut archive = Archive::new(reader);
    let mut group = Group::default();
    let mut end = 0;
    let outcome = (|| {
        for member in archive.entries_with_seek()? {
            let mut member = member.map_err(|error| no_header(end, error))?;
            let (at, size) = (member.raw_file_position(), member.size());
            end = at.saturating_add(size).next_multiple_of(BLOCK);
            let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            if at.saturating_add(size) > len {
                return Err(cut_short(&format!("inside {name}")));
            }
            if !member.header().entry_type().is_file() {
                continue;
            }
            let Some((key, ending)) = split_name(&name) else {
                continue;
            };
            if group.key != key {
                std::mem::replace(&mut group, Group::new(key, config)).close(scan, config, take);
            }
            group.add(ending, at, size, &mut member, config)?;
        }
        // Zeros close an archive; where not even one block of them is left, more may be missing.
        match end >= len {
            true => Err(cut_short("after a member, without the zeros that close an archive")),
            false => Ok(()),
        }
    })();
    group.close(scan, config, take);
    outcome
}

/// Of a file that is no archive, the library quotes a block: a line of it will do.
fn no_header(at: u64, error: io::Error) -> io::Error {
    const MAX_CHARS: usize = 60;
    if is_unread(&error) {
        return error;
    }
    let told: String = error
        .to_string()
        .chars()
        .filter(|sign| !sign.is_control())
        .take(MAX_CHARS)
        .collect();
    io::Error::new(error.kind(), format!("no header of a member at byte {at}: {told}"))
}

fn cut_short(place: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file is cut short, {place}"))
}

/// Name up to the first dot behind the last slash, and what follows in lower case; `None` for a name without either.
pub(super) fn split_name(name: &str) -> Option<(&str, String)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    (dot > base).then(|| (&name[..dot], name[dot + 1..].to_lowercase()))
}

impl Group {
    fn new(key: &str, config: &WebDatasetConfig) -> Self {
        Self {
            key: key.to_owned(),
            images: vec![None; config.image_keys.len()],
            ..Self::default()
        }
    }

    fn add(
        &mut self,
        ending: String,
        at: u64,
        size: u64,
        member: &mut impl Read,
        config: &WebDatasetConfig,
    ) -> io::Result<()> {
        if self.endings.contains(&ending) {
            self.twice = Some(ending);
            return Ok(());
        }
        // A longer one is no image that could be decoded, and no caption.
        let span = Span {
            at,
            len: u32::try_from(size).unwrap_or(u32::MAX),
        };
        if ending == config.caption_key {
            let texts = match span.len > MAX_CAPTION_BYTES {
                true => Err((
                    Fault::BadCaption,
                    format!("{size} bytes are more than {MAX_CAPTION_BYTES}"),
                )),
                false => {
                    let mut bytes = Vec::new();
                    member.read_to_end(&mut bytes)?;
                    captions(&bytes, config.json_field())
                }
            };
            self.caption = Some(span);
            match texts {
                Ok(texts) => self.captions = texts,
                Err(wrong) => self.wrong = Some(wrong),
            }
        }
        if let Some(position) = config.image_keys.iter().position(|key| *key == ending) {
            self.images[position] = Some(span);
        }
        self.endings.push(ending);
        Ok(())
    }

    /// Adds the sample, or what is wrong with it.
    fn close(self, scan: &mut Scan, config: &WebDatasetConfig, take: Take<'_>) {
        // What stands before the first member.
        if self.endings.is_empty() {
            return;
        }
        let has = || format!("it has {}", dotted(&self.endings));
        let image = self.images.into_iter().flatten().next();
        let (fault, detail) = match (self.twice, image, self.caption) {
            (Some(ending), _, _) => (Fault::TwiceNamed, format!("two members end in .{ending}")),
            (_, None, _) => (
                Fault::NoImage,
                format!("no member ends in {}: {}", dotted(&config.image_keys), has()),
            ),
            (_, _, None) => (
                Fault::NoCaption,
                format!("no member ends in .{}: {}", config.caption_key, has()),
            ),
            (_, Some(image), Some(caption)) => match self.wrong {
                Some(wrong) => wrong,
                None => return take(Entry { image, caption }, &self.key, self.captions),
            },
        };
        scan.faulty.push(Faulty {
            key: self.key,
            fault,
            detail,
        });
    }
}

fn dotted(endings: &[String]) -> String {
    let dotted: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
    dotted.join(", ")
}

/// The captions in a member: at least one, trimmed.
pub(super) fn captions(bytes: &[u8], json_field: Option<&str>) -> Result<Vec<String>, (Fault, String)> {
    let bad = |message: String| (Fault::BadCaption, message);
    let text = std::str::from_utf8(bytes).map_err(|error| bad(format!("not UTF-8: {error}")))?;
    let text = text.trim_start_matches('\u{feff}');
    let texts = match json_field {
        None => vec![text.to_owned()],
        Some(field) => {
            let mut value: Value = serde_json::from_str(text).map_err(|error| bad(format!("not JSON: {error}")))?;
            let object = value.as_object_mut().ok_or_else(|| bad("no JSON object".to_owned()))?;
            let Some(found) = object.remove(field) else {
                let fields: Vec<&str> = object.keys().map(String::as_str).collect();
                return Err(bad(format!("no field {field:?}: it has {}", fields.join(", "))));
            };
            texts_of(found).ok_or_else(|| bad(format!("field {field:?} is neither a text nor a list of texts")))?
        }
    };
    let texts: Vec<String> = texts
        .iter()
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect();
    match texts.is_empty() {
        true => Err((Fault::EmptyCaption, "the caption is empty".to_owned())),
        false => Ok(texts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_the_first_dot_of_the_file() {
        let split = |name| split_name(name).map(|(key, ending)| format!("{key}|{ending}"));
        assert_eq!(split("000.jpg").as_deref(), Some("000|jpg"));
        assert_eq!(split("./v1.2/a.b.JSON").as_deref(), Some("./v1.2/a|b.json"));
        assert_eq!(split(".hidden"), None);
        assert_eq!(split("a/README"), None);
    }

    #[test]
    fn captions_come_from_text_or_a_json_field() {
        let texts = |bytes: &str, field| captions(bytes.as_bytes(), field);
        assert_eq!(texts("\u{feff} a dog \n", None).unwrap(), ["a dog"]);
        assert_eq!(
            texts(r#"{"caption": ["a", " ", "b"]}"#, Some("caption")).unwrap(),
            ["a", "b"]
        );
        let fault = |bytes, field| texts(bytes, field).unwrap_err();
        assert_eq!(fault(" \n", None).0, Fault::EmptyCaption);
        assert_eq!(fault(r#"{"caption": null}"#, Some("caption")).0, Fault::EmptyCaption);
        assert_eq!(
            fault(r#"{"text": "a", "url": "b"}"#, Some("caption")),
            (Fault::BadCaption, "no field \"caption\": it has text, url".to_owned())
        );
        assert!(fault("{", Some("caption")).1.starts_with("not JSON: "));
        assert!(fault("[1]", Some("caption")).1.starts_with("no JSON object"));
        assert!(captions(b"\xff", None).unwrap_err().1.starts_with("not UTF-8"));
    }
}
