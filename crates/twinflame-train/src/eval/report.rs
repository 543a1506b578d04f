//! What a test found: for the screen and for `eval.json`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::partial_file::write_whole;
use super::{ClassificationReport, CounterpartReport, DirectionReport, EvalError, RerankReport, RetrievalReport};

/// Which of a run's weights were judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// As trained.
    Raw,
    /// The moving average.
    Ema,
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Ema => "ema",
        })
    }
}

/// How images were classified.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// By the class whose prompts are nearest.
    ZeroShot,
    /// By a linear probe on the tower's features.
    LinearProbe {
        /// Inverse strength of its penalty.
        c: f64,
    },
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroShot => f.write_str("zero-shot"),
            Self::LinearProbe { c } => write!(f, "probe, C {c}"),
        }
    }
}

/// Classification into one set of classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassesReport {
    /// What the classes are: "groups".
    pub classes: String,
    /// How the images were classified.
    #[serde(flatten)]
    pub method: Method,
    /// How well.
    #[serde(flatten)]
    pub report: ClassificationReport,
}

/// One test set judged with one kind of weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    /// Name of the set.
    pub set: String,
    /// The weights.
    pub weights: Weights,
    /// Images that could not be read and are left out, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unreadable: Option<String>,
    /// Retrieval both ways, if the set has captions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retrieval: Option<RetrievalReport>,
    /// Retrieval after the second stage, if the model has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rerank: Option<RerankReport>,
    /// Captions against false ones of the same words, if the data has them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counterparts: Option<CounterpartReport>,
    /// Classification, for each set of classes that the data knows.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub classification: Vec<ClassesReport>,
}

/// All test sets of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// The checkpoint that was judged.
    pub checkpoint: PathBuf,
    /// Optimiser steps behind it.
    pub step: usize,
    /// Set after set; raw weights before averaged ones.
    pub sets: Vec<SetReport>,
}

/// A table of figures as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTable {
    /// One word per column.
    pub header: Vec<String>,
    /// Cells, row by row.
    pub rows: Vec<Vec<String>>,
    /// How many columns from the left hold words rather than numbers.
    pub num_word_columns: usize,
}

impl TestReport {
    /// Retrieval of all sets: a row per set, weights and direction. `None` if no set has captions.
    pub fn retrieval_table(&self) -> Option<ReportTable> {
        let first = self.sets.iter().find_map(|set| set.retrieval.as_ref())?;
        let mut header = strings(["set", "weights", "direction", "queries"]);
        header.extend(
            first
                .image_to_text
                .recall
                .iter()
                .map(|recall| format!("R@{}", recall.k)),
        );
        header.extend(strings(["median", "mean rank"]));
        let mut rows = Vec::new();
        for set in &self.sets {
            let again = set.rerank.as_ref();
            let stages = [
                (set.retrieval.as_ref(), String::new()),
                (
                    again.map(|again| &again.retrieval),
                    again.map_or(String::new(), |again| format!(", best {} re-ranked", again.k)),
                ),
            ];
            for (retrieval, stage) in stages {
                let Some(retrieval) = retrieval else { continue };
                for (direction, report) in [
                    ("image to text", &retrieval.image_to_text),
                    ("text to image", &retrieval.text_to_image),
                ] {
                    let mut row = strings([&set.set, &set.weights.to_string(), &format!("{direction}{stage}")]);
                    row.extend(direction_cells(report));
                    rows.push(row);
                }
            }
        }
        Some(ReportTable {
            header,
            rows,
            num_word_columns: 3,
        })
    }

    /// Captions against false ones of the same words: a row per set and weights. `None` if no set has them.
    pub fn counterpart_table(&self) -> Option<ReportTable> {
        let header = strings([
            "set",
            "weights",
            "swapped captions",
            "told apart by embeddings",
            "by fusion",
        ]);
        let rows: Vec<Vec<String>> = self
            .sets
            .iter()
            .filter_map(|set| {
                let report = set.counterparts.as_ref()?;
                let fused = report.itm.map_or("-".to_owned(), |share| format!("{share:.3}"));
                let mut row = strings([&set.set, &set.weights.to_string()]);
                row.extend([report.num_pairs.to_string(), format!("{:.3}", report.itc), fused]);
                Some(row)
            })
            .collect();
        (!rows.is_empty()).then_some(ReportTable {
            header,
            rows,
            num_word_columns: 2,
        })
    }

    /// Classification of all sets: a row per set, weights, classes and method. `None` if no set has classes.
    pub fn classification_table(&self) -> Option<ReportTable> {
        let header = strings([
            "set",
            "weights",
            "classes",
            "method",
            "images",
            "top-1",
            "top-5",
            "mean per class",
        ]);
        let rows = self
            .sets
            .iter()
            .flat_map(|set| set.classification.iter().map(move |report| (set, report)));
        let rows: Vec<Vec<String>> = rows
            .map(
                |(
                    set,
                    ClassesReport {
                        classes,
                        method,
                        report,
                    },
                )| {
                    vec![
                        set.set.clone(),
                        set.weights.to_string(),
                        format!("{} {classes}", report.num_classes),
                        method.to_string(),
                        report.num_images.to_string(),
                        share(report.top_1),
                        share(report.top_5),
                        share(report.mean_per_class),
                    ]
                },
            )
            .collect();
        (!rows.is_empty()).then_some(ReportTable {
            header,
            rows,
            num_word_columns: 4,
        })
    }

    /// Top-1 accuracy of every class: a row per set, weights, method and class. `None` if no set has classes.
    pub fn per_class_table(&self) -> Option<ReportTable> {
        let header = strings(["set", "weights", "method", "class", "images", "top-1"]);
        let mut rows = Vec::new();
        for set in &self.sets {
            for ClassesReport { method, report, .. } in &set.classification {
                rows.extend(report.per_class.iter().map(|class| {
                    let words =
                        [&set.set, &set.weights.to_string(), &method.to_string(), &class.name].map(String::clone);
                    let mut row = words.to_vec();
                    row.extend([class.num_images.to_string(), share(class.top_1)]);
                    row
                }));
            }
        }
        (!rows.is_empty()).then_some(ReportTable {
            header,
            rows,
            num_word_columns: 4,
        })
    }

    /// Writes the report as JSON; the file appears under its name only when it is complete.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), EvalError> {
        let json = serde_json::to_string_pretty(self).map_err(|error| EvalError::write(path, error.into()))?;
        write_whole(path, json.as_bytes())
    }
}

fn direction_cells(report: &DirectionReport) -> Vec<String> {
    let mut cells = vec![report.num_queries.to_string()];
    cells.extend(report.recall.iter().map(|recall| share(recall.value)));
    cells.extend([report.median_rank.to_string(), format!("{:.1}", report.mean_rank)]);
    cells
}

fn share(value: f64) -> String {
    format!("{value:.3}")
}

fn strings<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(String::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::ClassAccuracy;

    /// A report of one set with round figures.
    fn example() -> TestReport {
        let direction = DirectionReport::from_ranks(&[Some(1), Some(3), None], &[1, 5]);
        let class = |name: &str, top_1| ClassAccuracy {
            name: name.to_owned(),
            num_images: 4,
            top_1,
        };
        TestReport {
            checkpoint: PathBuf::from("runs/x-1/checkpoints/step-7"),
            step: 7,
            sets: vec![SetReport {
                rerank: None,
                counterparts: None,
                set: "a".to_owned(),
                weights: Weights::Raw,
                unreadable: None,
                retrieval: Some(RetrievalReport {
                    image_to_text: direction.clone(),
                    text_to_image: direction,
                    num_images: 3,
                    num_captions: 3,
                }),
                classification: vec![ClassesReport {
                    classes: "groups".to_owned(),
                    method: Method::LinearProbe { c: 0.316 },
                    report: ClassificationReport {
                        top_1: 0.625,
                        top_5: 1.0,
                        mean_per_class: 0.625,
                        num_images: 8,
                        num_classes: 9,
                        per_class: vec![class("food", 0.75), class("animals", 0.5)],
                    },
                }],
            }],
        }
    }

    #[test]
    fn tables_have_a_cell_per_column() {
        let report = example();
        let tables = [
            report.retrieval_table(),
            report.classification_table(),
            report.per_class_table(),
        ];
        for table in tables.into_iter().flatten() {
            assert!(
                table.rows.iter().all(|row| row.len() == table.header.len()),
                "{table:?}"
            );
        }
        let retrieval = report.retrieval_table().unwrap();
        assert_eq!(retrieval.header[4..], ["R@1", "R@5", "median", "mean rank"]);
        assert_eq!(
            retrieval.rows[1],
            ["a", "raw", "text to image", "2", "0.500", "1.000", "2", "2.0"]
        );
        let classes = report.classification_table().unwrap();
        assert_eq!(
            classes.rows[0],
            ["a", "raw", "9 groups", "probe, C 0.316", "8", "0.625", "1.000", "0.625"]
        );
    }

    #[test]
    fn the_json_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eval.json");
        example().save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<TestReport>(&text).unwrap(), example());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["sets"][0]["classification"][0]["method"], "linear-probe");
        assert_eq!(json["sets"][0]["retrieval"]["text_to_image"]["recall"][0]["value"], 0.5);
    }
}
