use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use tempfile::TempDir;

use super::*;
use crate::dataset::{DataConfig, DataError, EvalSet, Source};

/// A picture of one grey.
fn png(grey: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::GrayImage::from_pixel(3, 2, image::Luma([grey]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Image and caption.
type Row = [Option<Vec<u8>>; 2];

/// Rows as img2dataset writes them.
struct Rows<'a>(&'a [Row]);

const BINARY: &str = "message m { OPTIONAL BYTE_ARRAY caption (UTF8); OPTIONAL BYTE_ARRAY jpg; OPTIONAL INT64 width; }";

impl Rows<'_> {
    /// Writes row groups of `group` rows, with pages of some rows.
    fn write(&self, path: &Path, group: usize, compression: Compression) {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_data_page_row_count_limit(3)
            .set_write_batch_size(1)
            .build();
        let schema = Arc::new(parse_message_type(BINARY).unwrap());
        let file = fs::File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        for rows in self.0.chunks(group) {
            let mut of_group = writer.next_row_group().unwrap();
            // The schema has the caption first.
            for part in [1, 0] {
                let of_rows = rows.iter().map(|row| row[part].clone());
                let values: Vec<ByteArray> = of_rows.clone().flatten().map(Into::into).collect();
                let defs: Vec<i16> = of_rows.map(|value| i16::from(value.is_some())).collect();
                let mut column = of_group.next_column().unwrap().unwrap();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, Some(&defs), None)
                    .unwrap();
                column.close().unwrap();
            }
            let mut column = of_group.next_column().unwrap().unwrap();
            let (widths, defs) = (vec![3; rows.len()], vec![1; rows.len()]);
            column
                .typed::<Int64Type>()
                .write_batch(&widths, Some(&defs), None)
                .unwrap();
            column.close().unwrap();
            of_group.close().unwrap();
        }
        writer.close().unwrap();
    }
}

/// `num` good rows from `first` on.
fn good(first: u8, num: u8) -> Vec<Row> {
    let row = |grey: u8| [Some(png(grey)), Some(format!(" grey {grey} ").into_bytes())];
    (first..first + num).map(row).collect()
}

fn config(folder: &TempDir, name: &str) -> ParquetConfig {
    ParquetConfig::new([folder.path().join(name).display().to_string()])
}

fn grey(source: &dyn Source, index: usize) -> (u8, String) {
    let drawn = source.draw(index, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
    (drawn.image.pixels()[0], drawn.caption)
}

#[test]
fn rows_are_samples_in_order_whatever_the_groups_and_the_compression() {
    let gzip = Compression::GZIP(GzipLevel::default());
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, gzip] {
        let folder = tempfile::tempdir().unwrap();
        Rows(&good(0, 20)).write(&folder.path().join("0.parquet"), 8, compression);
        Rows(&good(20, 1)).write(&folder.path().join("1.parquet"), 8, compression);
        let source = config(&folder, "{0..1}.parquet").open().unwrap();
        assert_eq!(source.num_samples(), 21);
        assert_eq!(source.shard_starts(), [0, 8, 16, 20]);
        for index in (0..21).rev() {
            assert_eq!(grey(&source, index), (index as u8, format!("grey {index}")));
        }
        assert!(source.name(17).ends_with("0.parquet, row 17"), "{}", source.name(17));
        assert_eq!(source.encoded(3).unwrap(), ("png", png(3)));
        let set = EvalSet::new(Arc::new(source)).unwrap();
        assert_eq!((set.num_images(), set.captions()[20].as_str()), (21, "grey 20"));
    }
}

#[test]
fn rows_that_lack_something_are_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = good(0, 12);
    rows[1][0] = None;
    rows[4][1] = None;
    rows[5][1] = Some(b"  ".to_vec());
    rows[11][1] = Some(vec![0xff, 0xfe]);
    Rows(&rows).write(&folder.path().join("a.parquet"), 5, Compression::SNAPPY);
    let config = config(&folder, "*.parquet");
    let source = config.open().unwrap();
    let greys: Vec<u8> = (0..source.num_samples()).map(|index| grey(&source, index).0).collect();
    assert_eq!(greys, [0, 2, 3, 6, 7, 8, 9, 10]);
    assert_eq!(source.shard_starts(), [0, 3, 7]);
    let report = source.report();
    let counts = [
        &report.no_image,
        &report.no_caption,
        &report.empty_captions,
        &report.bad_captions,
    ]
    .map(|tally| tally.count);
    assert_eq!(counts, [1; 4]);
    assert!(
        report.no_caption.named[0].ends_with("a.parquet, row 4: no caption"),
        "{report}"
    );
    assert_eq!(report.skipped[3].sample.as_deref(), Some("row 11"));
    let strict = ParquetConfig {
        max_skipped: 3,
        ..config
    };
    let error = strict.open().unwrap_err().to_string();
    assert!(error.contains("more than max_skipped = 3"), "{error}");
}

/// Files as pyarrow writes them for Hugging Face datasets: a struct of bytes and path, and captions in a list.
fn fixture(name: &str) -> ParquetConfig {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parquet");
    ParquetConfig::new([folder.join(name).display().to_string()])
}

#[test]
fn files_of_others_are_read() {
    let source = fixture("hugging_face.parquet").open().unwrap();
    assert_eq!(source.num_samples(), 7);
    assert_eq!(source.shard_starts(), [0, 4]);
    for index in 0..7 {
        assert_eq!(source.image(index).unwrap().pixels()[0], 10 * index as u8);
        let both = [format!("shade {index}"), format!("nuance {index}")];
        let told = if index % 3 == 2 { &both[..1] } else { &both[..] };
        assert_eq!(source.captions(index).unwrap(), told);
    }
    // A dictionary, pages of the second version, an image that could not be downloaded.
    let source = fixture("img2dataset.parquet").open().unwrap();
    assert_eq!(source.num_samples(), 5);
    assert_eq!(source.report().no_image.count, 1);
    assert_eq!(source.captions(4).unwrap(), ["always the same"]);
    assert_eq!(source.image(4).unwrap().pixels()[0], 50);
}

#[test]
fn images_may_be_files() {
    let folder = tempfile::tempdir().unwrap();
    let schema = "message m { REQUIRED BYTE_ARRAY image (UTF8); REQUIRED BYTE_ARRAY text (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = fs::File::create(folder.path().join("a.parquet")).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in [["x/7.png", "gone.png"], ["seven", "gone"]] {
        let values: Vec<ByteArray> = values.iter().map(|value| (*value).into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    fs::create_dir(folder.path().join("x")).unwrap();
    fs::write(folder.path().join("x/7.png"), png(7)).unwrap();
    let source = config(&folder, "a.parquet").open().unwrap();
    assert_eq!(grey(&source, 0), (7, "seven".to_owned()));
    let error = source.image(1).unwrap_err().to_string();
    assert!(error.contains("gone.png"), "{error}");
    let elsewhere = ParquetConfig {
        root: Some(folder.path().join("x")),
        ..config(&folder, "a.parquet")
    };
    assert!(
        elsewhere
            .open()
            .unwrap()
            .image(0)
            .unwrap_err()
            .to_string()
            .contains("x/x/7.png")
    );
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    Rows(&good(0, 9)).write(&path, 4, Compression::SNAPPY);
    let open = |change: &dyn Fn(&mut ParquetConfig)| {
        let mut config = config(&folder, "a.parquet");
        change(&mut config);
        config.open().map(|_| ()).unwrap_err().to_string()
    };
    let error = open(&|config| config.caption_column = Some("TEXT".to_owned()));
    assert!(
        error.ends_with(
            "a.parquet has no column \"TEXT\"; its columns are caption, jpg, width. Set caption_column to the right one"
        ),
        "{error}"
    );
    let error = open(&|config| config.image_column = Some("width".to_owned()));
    assert!(
        error.contains("column \"width\" is of type INT64; image_column must name one of bytes"),
        "{error}"
    );
    let error = open(&|config| config.shards = vec![folder.path().join("*.pq").display().to_string()]);
    assert!(error.ends_with("*.pq: it matches no file"), "{error}");

    // Cut short anywhere, it is an error at once.
    let whole = fs::read(&path).unwrap();
    for len in [0, 3, 8, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        let error = open(&|_| {});
        assert!(
            error.contains("a.parquet: no Parquet file, or one that is cut short"),
            "{len}: {error}"
        );
    }
    fs::remove_file(&path).unwrap();
    assert!(open(&|_| {}).starts_with("cannot read "));
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    Rows(&good(0, 9)).write(&path, 4, Compression::SNAPPY);
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut unreadable) = (0, 0);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).unwrap();
        match config(&folder, "a.parquet").open() {
            Err(DataError::Parquet { .. } | DataError::NoSamples { .. } | DataError::MissingColumn { .. }) => {
                refused += 1
            }
            Err(error) => panic!("byte {at}: {error}"),
            Ok(source) => {
                for index in 0..source.num_samples() {
                    let drawn = crate::panics::contain_panic(|| source.draw(index, &mut ChaCha8Rng::seed_from_u64(0)));
                    unreadable += usize::from(!matches!(drawn, Ok(Ok(_))));
                }
            }
        }
    }
    assert!(refused > 100 && unreadable > 100, "{refused} {unreadable}");
}

#[test]
fn a_recipe_names_the_files() {
    let text = r#"{"kind": "parquet", "shards": "d/*.parquet", "caption_column": "TEXT"}"#;
    let config: DataConfig = serde_json::from_str(text).unwrap();
    let expected = ParquetConfig {
        caption_column: Some("TEXT".to_owned()),
        ..ParquetConfig::new(["d/*.parquet"])
    };
    assert_eq!(config, DataConfig::Parquet(expected));
}
