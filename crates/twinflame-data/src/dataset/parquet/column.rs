//! A column of a row group: which one, and its values.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use crate::dataset::DataError;

/// Records that are read at a time where all are wanted.
const RECORDS_AT_ONCE: usize = 1024;

/// A file that any number of threads read at once: each opens it for itself.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) len: u64,
}

impl Shard {
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let len = path.metadata()?.len();
        Ok(Self { path, len })
    }

    fn at(&self, start: u64) -> io::Result<File> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }
}

impl Length for Shard {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Shard {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        // Headers of pages are read so: short.
        Ok(BufReader::with_capacity(1024, self.at(start)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes> {
        if start.saturating_add(length as u64) > self.len {
            return Err(ParquetError::EOF("a page ends behind the end of the file".to_owned()));
        }
        let mut bytes = vec![0; length];
        self.at(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Position of the column that holds images: the one named so, or its field `bytes`.
pub(super) fn image_column(schema: &SchemaDescriptor, file: &Path, name: Option<&str>) -> Result<usize, DataError> {
    find(
        schema,
        file,
        "image_column",
        name,
        &["image", "jpg", "jpeg", "png", "webp"],
        |name, path| path == [name] || path == [name, "bytes"],
    )
}

/// Position of the column that holds captions: the one named so, or the texts of its list.
pub(super) fn caption_column(schema: &SchemaDescriptor, file: &Path, name: Option<&str>) -> Result<usize, DataError> {
    find(
        schema,
        file,
        "caption_column",
        name,
        &["caption", "text"],
        |name, path| {
            // What lists are called inside is up to the writer.
            path[0] == name
        },
    )
}

fn find(
    schema: &SchemaDescriptor,
    file: &Path,
    key: &'static str,
    name: Option<&str>,
    usual: &[&'static str],
    is_it: impl Fn(&str, &[&str]) -> bool,
) -> Result<usize, DataError> {
    let position = |name: &str| {
        schema.columns().iter().position(|column| {
            let path: Vec<&str> = column.path().parts().iter().map(String::as_str).collect();
            is_it(name, &path)
        })
    };
    let found = match name {
        Some(name) => position(name),
        None => usual.iter().find_map(|name| position(name)),
    };
    let missing = || DataError::MissingColumn {
        file: file.to_owned(),
        column: name.map_or_else(|| usual.join(", "), str::to_owned),
        key,
        found: schema.columns().iter().map(|column| column.path().string()).collect(),
    };
    let found = found.ok_or_else(missing)?;
    let column = schema.column(found);
    if column.physical_type() != Type::BYTE_ARRAY {
        return Err(DataError::Parquet {
            path: file.to_owned(),
            message: format!(
                "column {:?} is of type {}; {key} must name one of bytes or texts",
                column.path().string(),
                column.physical_type()
            ),
        });
    }
    Ok(found)
}

/// Whether a column holds texts, not bytes.
pub(super) fn is_text(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::String)) || column.converted_type() == ConvertedType::UTF8
}

/// A column in a row group, without what is not needed to read it.
#[derive(Debug)]
pub(super) struct Column {
    meta: ColumnChunkMetaData,
    num_rows: usize,
}

impl Column {
    /// # Errors
    /// A compression that is not read.
    pub(super) fn new(group: &RowGroupMetaData, position: usize, file: &Path) -> Result<Self, DataError> {
        let wrong = |message: String| DataError::Parquet {
            path: file.to_owned(),
            message,
        };
        let meta = group.column(position);
        match meta.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) => {}
            other => {
                return Err(wrong(format!(
                    "column {:?} is compressed with {other}, which is not read; write the file with snappy, gzip or none",
                    meta.column_path().string()
                )));
            }
        }
        // Statistics hold whole values.
        let bare = meta.clone().into_builder().clear_statistics().build();
        Ok(Self {
            meta: bare.map_err(|error| wrong(error.to_string()))?,
            num_rows: usize::try_from(group.num_rows()).unwrap_or(0),
        })
    }

    fn reader(&self, shard: &Arc<Shard>) -> Result<ColumnReaderImpl<ByteArrayType>> {
        let pages = SerializedPageReader::new(shard.clone(), &self.meta, self.num_rows, None)?;
        Ok(get_typed_column_reader(get_column_reader(
            self.meta.column_descr_ptr(),
            Box::new(pages),
        )))
    }

    /// The values of one row: none if it is null.
    pub(super) fn row(&self, shard: &Arc<Shard>, row: usize) -> Result<Vec<ByteArray>> {
        let mut reader = self.reader(shard)?;
        let skipped = reader.skip_records(row)?;
        let (mut defs, mut reps, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let (read, _, _) = reader.read_records(1, Some(&mut defs), Some(&mut reps), &mut values)?;
        match (skipped, read) {
            (skipped, 1) if skipped == row => Ok(values),
            _ => Err(ParquetError::EOF(format!("the row group has no row {row}"))),
        }
    }

    /// The values of every row, in order.
    ///
    /// # Errors
    /// What cannot be read, or fewer rows than the file says.
    pub(super) fn each_row(&self, shard: &Arc<Shard>, mut act: impl FnMut(&[ByteArray])) -> Result<()> {
        let mut reader = self.reader(shard)?;
        let descr = self.meta.column_descr_ptr();
        let (max_def, is_list) = (descr.max_def_level(), descr.max_rep_level() > 0);
        let mut rows = 0;
        while rows < self.num_rows {
            let (mut defs, mut reps, mut values) = (Vec::new(), Vec::new(), Vec::new());
            let at_once = RECORDS_AT_ONCE.min(self.num_rows - rows);
            let (read, _, levels) = reader.read_records(at_once, Some(&mut defs), Some(&mut reps), &mut values)?;
            if read == 0 {
                return Err(ParquetError::EOF(format!("{rows} rows instead of {}", self.num_rows)));
            }
            rows += read;
            let (mut level, mut value) = (0, 0);
            for _ in 0..read {
                let first = value;
                loop {
                    // A column without levels has a value in each row.
                    value += usize::from(max_def == 0 || defs.get(level) == Some(&max_def));
                    level += 1;
                    if !is_list || level >= levels || reps.get(level) == Some(&0) {
                        break;
                    }
                }
                act(values.get(first..value).unwrap_or_default());
            }
        }
        Ok(())
    }
}
