//! What the files offer: row groups, and the rows of them that have an image and a caption.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use rayon::prelude::*;

use super::ParquetConfig;
use super::column::{CAPTIONS_AT_ONCE, Column, IMAGES_AT_ONCE, Shard, caption_column, image_column, is_text, plain};
use crate::dataset::DataError;
use crate::dataset::fault::Fault;
use crate::dataset::listed::told;
use crate::dataset::webdataset::{Lists, Naming, SampleName, Seen};
use crate::panics::contain_panic;

/// A row group.
#[derive(Debug)]
pub(super) struct Group {
    /// Number of its file.
    pub(super) shard: usize,
    /// Its first row in the file.
    pub(super) first_row: usize,
    /// The rows that are samples, if some are not.
    pub(super) usable: Option<Vec<u32>>,
    pub(super) image: Column,
    /// Whether images are files whose paths the column has.
    pub(super) image_is_path: bool,
    pub(super) caption: Column,
}

/// What a row lacks.
pub(super) fn in_words(fault: Fault) -> String {
    let words = match fault {
        Fault::NoImage => "no image",
        Fault::NoCaption => "no caption",
        Fault::BadCaption => "the caption is not UTF-8",
        Fault::EmptyCaption => "the caption is empty",
        Fault::TwiceNamed => "named twice",
    };
    words.to_owned()
}

/// A row group as found.
pub(super) struct Found {
    pub(super) group: Group,
    pub(super) num_usable: usize,
    /// Rows of the file that are left out.
    pub(super) faulty: Vec<(usize, Fault)>,
    pub(super) seen: Seen,
}

/// What a file says of itself.
pub(super) struct Layout {
    pub(super) shard: Arc<Shard>,
    metadata: ParquetMetaData,
    /// Position of the image column.
    pub(super) image: Option<usize>,
    /// Position of the caption column.
    pub(super) caption: usize,
}

impl Layout {
    /// Reads the footer. Without a column of images, `image_needed` or one is named, it is an error.
    ///
    /// # Errors
    /// A damaged file, or columns that are not there.
    pub(super) fn read(path: &Path, config: &ParquetConfig, image_needed: bool) -> Result<Self, DataError> {
        let wrong = |message: String| DataError::Parquet {
            path: path.to_owned(),
            message,
        };
        // The library takes some numbers of damaged files for granted.
        let contained = contain_panic(|| {
            let shard = Shard::new(path.to_owned()).map_err(|source| DataError::Read {
                path: path.to_owned(),
                source,
            })?;
            let metadata = ParquetMetaDataReader::new()
                .parse_and_finish(&shard)
                .map_err(|error| wrong(format!("no Parquet file, or one that is cut short: {error}")))?;
            let schema = metadata.file_metadata().schema_descr();
            let image = match image_column(schema, path, config.image_column.as_deref()) {
                Err(DataError::MissingColumn { .. }) if !image_needed && config.image_column.is_none() => None,
                image => Some(image?),
            };
            let caption = caption_column(schema, path, config.caption_column.as_deref())?;
            Ok(Self {
                shard: Arc::new(shard),
                metadata,
                image,
                caption,
            })
        });
        contained.unwrap_or_else(|message| Err(wrong(format!("the file is damaged: {message}"))))
    }

    /// The row groups, each with its first row.
    pub(super) fn groups(&self) -> Vec<(usize, &RowGroupMetaData)> {
        let mut first_row: usize = 0;
        let groups = self.metadata.row_groups().iter().map(|group| {
            let first = first_row;
            first_row = first.saturating_add(usize::try_from(group.num_rows()).unwrap_or(0));
            (first, group)
        });
        groups.collect()
    }

    /// Whether images are files whose paths the column has.
    fn image_is_path(&self, image: usize) -> bool {
        is_text(&self.metadata.file_metadata().schema_descr().column(image))
    }
}

/// Reads something of the rows from `first_row` on.
///
/// # Errors
/// What cannot be read, and a panic of the library, with the name of the file.
pub(super) fn read_rows<T>(
    path: &Path,
    first_row: usize,
    read: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, DataError> {
    let outcome = contain_panic(read).unwrap_or_else(|message| Err(ParquetError::General(message)));
    outcome.map_err(|error| DataError::Parquet {
        path: path.to_owned(),
        message: format!("rows from {first_row} on cannot be read: {}", plain(&error)),
    })
}

/// Opens a file, reads its footer and its captions; if no sample of it may be used, nothing.
///
/// # Errors
/// A damaged file, or columns that are not there.
pub(super) fn open_shard(
    path: &Path,
    number: usize,
    config: &ParquetConfig,
    lists: &Lists,
) -> Result<(Arc<Shard>, Vec<Found>), DataError> {
    if !lists.names_shard(number) {
        return Ok((Arc::new(Shard::unread(path.to_owned())), Vec::new()));
    }
    let layout = Layout::read(path, config, true)?;
    let shard = layout.shard.clone();
    let Some(image) = layout.image else {
        return Ok((shard, Vec::new()));
    };
    let image_is_path = layout.image_is_path(image);
    let found = layout.groups().into_par_iter().map(|(first_row, meta)| {
        let group = Group {
            shard: number,
            first_row,
            usable: None,
            image: Column::new(meta, image, path)?,
            image_is_path,
            caption: Column::new(meta, layout.caption, path)?,
        };
        let maybe_missing = may_be_null(meta, image);
        read_rows(path, first_row, || look_at(group, &shard, maybe_missing, lists))
    });
    Ok((shard.clone(), found.collect::<Result<Vec<Found>, DataError>>()?))
}

/// Whether rows may lack a value, as far as the file says.
pub(super) fn may_be_null(group: &RowGroupMetaData, column: usize) -> bool {
    let statistics = group.column(column).statistics();
    statistics.and_then(|statistics| statistics.null_count_opt()) != Some(0)
}

/// Of each row, whether it lacks its image.
pub(super) fn missing_images(image: &Column, shard: &Arc<Shard>) -> Result<Vec<bool>, ParquetError> {
    let mut missing = Vec::new();
    image.each_row(shard, IMAGES_AT_ONCE, |values| {
        missing.push(values.first().is_none_or(|value| value.data().is_empty()));
    })?;
    Ok(missing)
}

/// Looks at the captions of a row group, and at the images where some may be missing.
fn look_at(mut group: Group, shard: &Arc<Shard>, images_missing: bool, lists: &Lists) -> Result<Found, ParquetError> {
    let mut faults = Vec::new();
    group
        .caption
        .each_row(shard, CAPTIONS_AT_ONCE, |values| faults.push(fault(values)))?;
    if images_missing {
        for (fault, missing) in faults.iter_mut().zip(missing_images(&group.image, shard)?) {
            if missing {
                *fault = Some(Fault::NoImage);
            }
        }
    }
    let (mut usable, mut faulty, mut seen) = (Vec::new(), Vec::new(), Seen::default());
    for (at, (row, fault)) in (0..).zip((group.first_row..).zip(&faults)) {
        let name = SampleName::Row(row as u64);
        match fault {
            None if lists.take(group.shard, &name, &mut seen) => usable.push(at),
            Some(fault) if lists.is_named(group.shard, &name, &mut seen) => faulty.push((row, *fault)),
            _ => {}
        }
    }
    let num_usable = usable.len();
    group.usable = (num_usable < faults.len()).then_some(usable);
    Ok(Found {
        group,
        num_usable,
        faulty,
        seen,
    })
}

/// What the captions of a row lack.
pub(super) fn fault(values: &[ByteArray]) -> Option<Fault> {
    let (mut any, mut told) = (false, false);
    for value in values {
        any = true;
        match std::str::from_utf8(value.data()) {
            Ok(text) => told |= !text.trim().is_empty(),
            Err(_) => return Some(Fault::BadCaption),
        }
    }
    match (any, told) {
        (false, _) => Some(Fault::NoCaption),
        (true, false) => Some(Fault::EmptyCaption),
        (true, true) => None,
    }
}

/// The captions of a row that say anything, trimmed.
pub(super) fn texts(values: &[ByteArray]) -> Vec<String> {
    let texts = values
        .iter()
        .map(|value| String::from_utf8_lossy(value.data()).into_owned());
    told(texts.collect())
}

/// The lists that the configuration names.
///
/// # Errors
/// As [`Lists::read`].
pub(super) fn read_lists(config: &ParquetConfig, files: &[PathBuf]) -> Result<Lists, DataError> {
    Lists::read(config.keep.as_deref(), config.groups.as_deref(), Naming::Rows, files)
}
