//! Caption tables: CSV, TSV and JSON lines, read row by row and again at a row's place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::DataError;
use super::listed::{Place, Row};

/// Names of the columns of a table, or keys of JSON lines.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) image: String,
    pub(super) caption: String,
    pub(super) id: Option<String>,
    pub(super) class: Option<String>,
}

impl Columns {
    /// Columns with the keys that configure them; the first two are needed.
    fn named(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("image_column", Some(&self.image)),
            ("caption_column", Some(&self.caption)),
            ("id_column", self.id.as_deref()),
            ("class_column", self.class.as_deref()),
        ]
    }
}

#[derive(Debug)]
enum Format {
    /// Columns at these positions, in the order of [`Columns::named`].
    Separated { separator: u8, at: [Option<usize>; 4] },
    /// An object a line.
    Lines(Columns),
}

/// A caption table on disk.
#[derive(Debug)]
pub(super) struct Table {
    file: PathBuf,
    format: Format,
}

impl Table {
    /// Looks at the ending and, of CSV and TSV, at the header. `separator` gives the byte between columns, from the usual one.
    ///
    /// # Errors
    /// An unknown ending, a file that cannot be read, a column that is not there, or what `separator` says of the usual
    /// one.
    pub(super) fn open(
        file: PathBuf,
        columns: Columns,
        separator: impl Fn(char) -> Result<u8, DataError>,
    ) -> Result<Self, DataError> {
        let usual = match file.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => ',',
            Some("tsv") => '\t',
            Some("jsonl") => {
                let format = Format::Lines(columns);
                return Ok(Self { file, format });
            }
            _ => return Err(DataError::Ending { file }),
        };
        let separator = separator(usual)?;
        let mut table = csv::ReaderBuilder::new().delimiter(separator).from_reader(open(&file)?);
        let header = table
            .headers()
            .map_err(|error| bad_row(&file, "line 1".to_owned(), &error))?;
        let mut at = [None; 4];
        for (at, (key, column)) in at.iter_mut().zip(columns.named()) {
            let Some(column) = column else { continue };
            let position = header.iter().position(|name| name.trim() == column);
            *at = Some(position.ok_or_else(|| DataError::MissingColumn {
                file: file.clone(),
                column: column.to_owned(),
                key,
                found: header.iter().map(str::to_owned).collect(),
            })?);
        }
        let format = Format::Separated { separator, at };
        Ok(Self { file, format })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// A row that cannot be read.
    pub(super) fn for_each(&self, act: impl FnMut(Place, Row)) -> Result<(), DataError> {
        match &self.format {
            Format::Separated { separator, at } => self.each_record(*separator, at, act),
            Format::Lines(columns) => self.each_line(columns, act),
        }
    }

    fn each_record(
        &self,
        separator: u8,
        at: &[Option<usize>; 4],
        mut act: impl FnMut(Place, Row),
    ) -> Result<(), DataError> {
        let file = &self.file;
        let mut table = csv::ReaderBuilder::new().delimiter(separator).from_reader(open(file)?);
        let bad = |line: u64, error| bad_row(file, format!("line {line}"), &error);
        table.headers().map_err(|error| bad(1, error))?;
        let mut record = csv::StringRecord::new();
        loop {
            let (line, start) = (table.position().line(), table.position().byte());
            if !table.read_record(&mut record).map_err(|error| bad(line, error))? {
                return Ok(());
            }
            let line = record.position().map_or(line, csv::Position::line);
            let place = Place::new(start, table.position().byte() - start);
            let place = place.ok_or_else(|| self.too_long(format!("line {line}")))?;
            act(place, row_of_record(&record, at, format!("line {line}")));
        }
    }

    fn each_line(&self, columns: &Columns, mut act: impl FnMut(Place, Row)) -> Result<(), DataError> {
        let mut reader = BufReader::new(open(&self.file)?);
        let (mut start, mut line) = (0, Vec::new());
        for number in 1_u64.. {
            line.clear();
            let len = reader.read_until(b'\n', &mut line).map_err(|source| DataError::Read {
                path: self.file.clone(),
                source,
            })? as u64;
            if len == 0 {
                break;
            }
            let at = format!("line {number}");
            let place = Place::new(start, len).ok_or_else(|| self.too_long(at.clone()))?;
            start += len;
            if let Some(row) = self.row_of_line(columns, &line, at)? {
                act(place, row);
            }
        }
        Ok(())
    }

    /// Reads the row at a place once more.
    ///
    /// # Errors
    /// If the file cannot be read, or the place holds no such row any more.
    pub(super) fn read(&self, place: Place) -> Result<Row, DataError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.file)?;
            file.seek(SeekFrom::Start(place.at))?;
            let mut bytes = Vec::with_capacity(place.len as usize);
            file.take(place.len.into()).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| DataError::Read {
            path: self.file.clone(),
            source,
        })?;
        let at = format!("byte {}", place.at);
        let row = match &self.format {
            Format::Lines(columns) => self.row_of_line(columns, &bytes, at.clone())?,
            Format::Separated { separator, at: columns } => {
                let mut reader = csv::ReaderBuilder::new();
                let mut records = reader
                    .has_headers(false)
                    .delimiter(*separator)
                    .from_reader(bytes.as_slice())
                    .into_records();
                let record = records.next().transpose();
                let record = record.map_err(|error| bad_row(&self.file, at.clone(), &error))?;
                record.map(|record| row_of_record(&record, columns, at.clone()))
            }
        };
        row.ok_or_else(|| DataError::Row {
            file: self.file.clone(),
            place: at,
            message: "no row is there any more".to_owned(),
        })
    }

    fn too_long(&self, place: String) -> DataError {
        DataError::Row {
            file: self.file.clone(),
            place,
            message: "the row is longer than 4 GiB".to_owned(),
        }
    }

    /// The row of a line of JSON; `None` for an empty one.
    fn row_of_line(&self, columns: &Columns, line: &[u8], place: String) -> Result<Option<Row>, DataError> {
        let bad = |error: &dyn std::error::Error| bad_row(&self.file, place.clone(), error);
        let text = std::str::from_utf8(line).map_err(|error| bad(&error))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let text = text.trim_start_matches('\u{feff}');
        let object: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|error| bad(&error))?;
        row_of_object(&self.file, columns, place, object).map(Some)
    }
}

fn open(file: &Path) -> Result<File, DataError> {
    File::open(file).map_err(|source| DataError::Read {
        path: file.to_owned(),
        source,
    })
}

fn row_of_record(record: &csv::StringRecord, at: &[Option<usize>; 4], place: String) -> Row {
    let [image, caption, id, class] = at.map(|at| at.and_then(|at| record.get(at)).map(|text| text.trim().to_owned()));
    Row {
        image: image.unwrap_or_default(),
        captions: caption.into_iter().collect(),
        id: id.filter(|id| !id.is_empty()),
        class: class.filter(|class| !class.is_empty()),
        place,
    }
}

fn row_of_object(
    file: &Path,
    columns: &Columns,
    place: String,
    mut object: BTreeMap<String, Value>,
) -> Result<Row, DataError> {
    let mut row = Row::default();
    for (key, column) in columns.named() {
        let Some(column) = column else { continue };
        let optional = matches!(key, "id_column" | "class_column");
        let Some(value) = object.remove(column).filter(|value| !(optional && value.is_null())) else {
            if optional {
                continue;
            }
            return Err(DataError::MissingColumn {
                file: file.to_owned(),
                column: column.to_owned(),
                key,
                found: object.into_keys().collect(),
            });
        };
        let wrong = |wanted| DataError::Row {
            file: file.to_owned(),
            place: place.clone(),
            message: format!("{column:?} must be {wanted}"),
        };
        match key {
            "image_column" => row.image = text_of(value).ok_or_else(|| wrong("a path"))?,
            "caption_column" => row.captions = texts_of(value).ok_or_else(|| wrong("a text or a list of texts"))?,
            "id_column" => row.id = Some(text_of(value).ok_or_else(|| wrong("a text or a number"))?),
            _ => row.class = Some(text_of(value).ok_or_else(|| wrong("a text or a number"))?),
        }
    }
    row.place = place;
    Ok(row)
}

fn bad_row(file: &Path, place: String, error: &dyn std::error::Error) -> DataError {
    DataError::Row {
        file: file.to_owned(),
        place,
        message: error.to_string(),
    }
}

/// A text, or a number as text.
pub(super) fn text_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One text or a list of texts. `null` is no text at all.
pub(crate) fn texts_of(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values
            .into_iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}
