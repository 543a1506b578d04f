//! What the files offer: row groups, and the rows of them that have an image and a caption.

use std::path::Path;
use std::sync::Arc;

use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use rayon::prelude::*;

use super::ParquetConfig;
use super::column::{Column, Shard, caption_column, image_column, is_text};
use crate::dataset::DataError;
use crate::dataset::fault::Fault;
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
}

/// Opens a file, reads its footer and its captions.
///
/// # Errors
/// A damaged file, or columns that are not there.
pub(super) fn open_shard(
    path: &Path,
    number: usize,
    config: &ParquetConfig,
) -> Result<(Arc<Shard>, Vec<Found>), DataError> {
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
        let shard = Arc::new(shard);
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(&*shard)
            .map_err(|error| wrong(format!("no Parquet file, or one that is cut short: {error}")))?;
        let schema = metadata.file_metadata().schema_descr();
        let image = image_column(schema, path, config.image_column.as_deref())?;
        let caption = caption_column(schema, path, config.caption_column.as_deref())?;
        let image_is_path = is_text(&schema.column(image));
        let mut first_row = 0;
        let groups: Vec<(usize, &RowGroupMetaData)> = metadata
            .row_groups()
            .iter()
            .map(|group| {
                let first = first_row;
                first_row += usize::try_from(group.num_rows()).unwrap_or(0);
                (first, group)
            })
            .collect();
        let found = groups.par_iter().map(|&(first_row, meta)| {
            let group = Group {
                shard: number,
                first_row,
                usable: None,
                image: Column::new(meta, image, path)?,
                image_is_path,
                caption: Column::new(meta, caption, path)?,
            };
            let nulls = meta
                .column(image)
                .statistics()
                .and_then(|statistics| statistics.null_count_opt());
            // Panics of other threads are contained there.
            let looked = contain_panic(|| look_at(group, &shard, nulls != Some(0)));
            let cannot = |error: String| wrong(format!("rows from {first_row} on cannot be read: {error}"));
            looked.map_err(cannot)?.map_err(|error| cannot(error.to_string()))
        });
        Ok((shard.clone(), found.collect::<Result<Vec<Found>, DataError>>()?))
    });
    contained.unwrap_or_else(|message| Err(wrong(format!("the file is damaged: {message}"))))
}

/// Looks at the captions of a row group, and at the images where some may be missing.
fn look_at(mut group: Group, shard: &Arc<Shard>, images_missing: bool) -> parquet::errors::Result<Found> {
    let mut faults = Vec::new();
    group.caption.each_row(shard, |values| {
        faults.push(fault(values.iter().map(|value| value.data())))
    })?;
    if images_missing {
        let mut row = 0;
        group.image.each_row(shard, |values| {
            if values.first().is_none_or(|value| value.data().is_empty()) {
                faults[row] = Some(Fault::NoImage);
            }
            row += 1;
        })?;
    }
    let usable: Vec<u32> = (0..)
        .zip(&faults)
        .filter(|(_, fault)| fault.is_none())
        .map(|(row, _)| row)
        .collect();
    let faulty = faults.iter().enumerate();
    let faulty = faulty
        .filter_map(|(row, fault)| Some((group.first_row + row, (*fault)?)))
        .collect();
    let num_usable = usable.len();
    group.usable = (num_usable < faults.len()).then_some(usable);
    Ok(Found {
        group,
        num_usable,
        faulty,
    })
}

fn fault<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Fault> {
    let (mut any, mut told) = (false, false);
    for value in values {
        any = true;
        match std::str::from_utf8(value) {
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
