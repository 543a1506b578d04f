//! The captions of Parquet files, one row after another.

use super::ParquetConfig;
use super::column::{CAPTIONS_AT_ONCE, Column};
use super::open::{Layout, fault, may_be_null, missing_images, read_lists, read_rows, texts};
use crate::dataset::DataError;
use crate::dataset::webdataset::{SampleName, Seen, expand};

/// Hands over file, row and captions of every row that is used, in order, and nothing after the first error. Returns how many rows
/// lack image or caption, which are left out. Where no column of images is named and none of the usual ones is there, no row lacks
/// its image.
///
/// Memory: some rows of captions, and a byte for each row of a row group.
///
/// # Errors
/// As [`ParquetConfig::open`], as a [`DataError`], and what `act` returns.
pub(crate) fn for_each_caption<E: From<DataError>>(
    config: &ParquetConfig,
    mut act: impl FnMut(&str, u64, Vec<String>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut left_out = 0;
    let paths = expand(&config.shards)?;
    let lists = read_lists(config, &paths)?;
    for (number, path) in paths
        .iter()
        .enumerate()
        .filter(|(number, _)| lists.names_shard(*number))
    {
        let file = path.display().to_string();
        let layout = Layout::read(path, config, false)?;
        for (first_row, meta) in layout.groups() {
            let missing = match layout.image.filter(|&image| may_be_null(meta, image)) {
                None => Vec::new(),
                Some(image) => {
                    let image = Column::new(meta, image, path)?;
                    read_rows(path, first_row, || missing_images(&image, &layout.shard))?
                }
            };
            let caption = Column::new(meta, layout.caption, path)?;
            let mut reader = read_rows(path, first_row, || caption.rows(&layout.shard, CAPTIONS_AT_ONCE))?;
            let (mut row, mut seen) = (first_row, Seen::default());
            while let Some(rows) = read_rows(path, row, || reader.next())? {
                for values in rows.iter() {
                    let name = SampleName::Row(row as u64);
                    let faulty = fault(values).is_some() || missing.get(row - first_row) == Some(&true);
                    match faulty {
                        true => left_out += u64::from(lists.is_named(number, &name, &mut seen)),
                        false if lists.take(number, &name, &mut seen) => act(&file, row as u64, texts(values))?,
                        false => {}
                    }
                    row += 1;
                }
            }
        }
    }
    Ok(left_out)
}
