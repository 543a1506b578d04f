//! Lists of queries from text: frequent words, and neighbouring words that belong together.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::matcher::space;
use super::records::CaptionFile;
use super::{CurateError, Record, in_batches};

/// Binary logarithm of the most buckets that pairs are counted in first: 256 MiB.
const MAX_BUCKET_BITS: u32 = 26;

/// What makes a query of a word, or of a bigram: two words with one space between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryRules {
    /// How often it comes at least.
    pub min_count: u64,
    /// Pointwise mutual information that a bigram has at least, in bits: `log2(n(ab) N / (n(a) n(b)))` for `n(ab)` times that
    /// `a b` comes, `n(a)` and `n(b)` times of its words, and `N` words in all (Church and Hanks 1990,
    /// <https://aclanthology.org/J90-1003>; NLTK's `BigramAssocMeasures.pmi`). No bigram has more than `log2(N / min_count)`.
    /// `None`: words alone.
    pub min_pmi: Option<f64>,
}

/// The words of a text that come often enough, and bigrams that also come together more often than by chance, the most frequent
/// first and equally frequent ones by code points: a list of queries (Radford et al. 2021, section 2.2).
///
/// Words lie between spaces, signs as [`curate`](super::curate) spaces them are none, and case counts. What has a sign or
/// another space between its words is no bigram, nor would it be found as a query.
///
/// Reads the file once, with bigrams three times; `progress` is told of lines done, in each pass. What it finds does not depend
/// on the number of cores. Memory grows with the number of different words. For bigrams it is 4 bytes for each word of the text,
/// at most 256 MiB, and up to 40 bytes for each bigram that may be a query: the first of the two passes counts bigrams in
/// buckets, several in one if need be (Park, Chen and Yu 1995, <https://doi.org/10.1145/223784.223813>), the second one exactly
/// those whose bucket is full enough. Above `min_count` times 67 million words buckets fill up and fewer bigrams are ruled out.
///
/// # Errors
/// A file that cannot be read.
pub fn count_queries(
    file: &CaptionFile,
    rules: &QueryRules,
    mut progress: impl FnMut(u64),
) -> Result<Vec<(String, u64)>, CurateError> {
    let (mut queries, num_words) = count_words(file, rules.min_count, &mut progress)?;
    if let Some(min_pmi) = rules.min_pmi {
        let bigrams = Bigrams::new(&queries, num_words, rules.min_count, min_pmi);
        let counted = bigrams.count(file, bucket_bits(num_words), &mut progress)?;
        queries.extend(counted);
    }
    queries.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(queries)
}

/// Words that come at least `min_count` times, and how many words there are with the others.
fn count_words(
    file: &CaptionFile,
    min_count: u64,
    progress: &mut impl FnMut(u64),
) -> Result<(Vec<(String, u64)>, u64), CurateError> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    in_batches(file, |records| {
        let of_record = |mut counts: HashMap<String, u64>, record: &Record| {
            let mut spaced = String::new();
            for caption in &record.captions {
                space(caption, &mut spaced);
                for word in spaced.split(' ').filter(|word| word.chars().any(char::is_alphanumeric)) {
                    match counts.get_mut(word) {
                        Some(count) => *count += 1,
                        None => {
                            counts.insert(word.to_owned(), 1);
                        }
                    }
                }
            }
            counts
        };
        add(&mut counts, counted(records, of_record));
        progress(records.len() as u64);
        Ok(())
    })?;
    let num_words = counts.values().sum();
    let words = counts.into_iter().filter(|(_, count)| *count >= min_count);
    Ok((words.collect(), num_words))
}

/// Bigrams of words that come often enough. One that does has no other words.
struct Bigrams<'a> {
    /// Words and how often they come, by number.
    words: &'a [(String, u64)],
    numbers: HashMap<&'a str, u32>,
    num_words: u64,
    min_count: u64,
    /// How often a bigram comes at least, as a multiple of what chance makes expected.
    min_ratio: f64,
}

/// Number of the first word, and of the second one in the lower half.
type Key = u64;

impl<'a> Bigrams<'a> {
    fn new(words: &'a [(String, u64)], num_words: u64, min_count: u64, min_pmi: f64) -> Self {
        Self {
            words,
            numbers: words.iter().map(|(word, _)| word.as_str()).zip(0..).collect(),
            num_words,
            min_count,
            // From libm: the same on every platform.
            min_ratio: libm::exp2(min_pmi),
        }
    }

    fn words_of(&self, key: Key) -> [&'a (String, u64); 2] {
        [key >> 32, key & u64::from(u32::MAX)].map(|number| &self.words[number as usize])
    }

    /// Whether a bigram that comes `count` times is a query. If so, it also is with a greater count.
    fn is_query(&self, key: Key, count: u64) -> bool {
        let [(_, a), (_, b)] = self.words_of(key);
        count >= self.min_count && count as f64 * self.num_words as f64 >= self.min_ratio * (*a as f64 * *b as f64)
    }

    fn for_each(&self, record: &Record, mut act: impl FnMut(Key)) {
        let mut spaced = String::new();
        for caption in &record.captions {
            space(caption, &mut spaced);
            let mut before = None;
            for word in spaced.split(' ') {
                // Signs, and the nothing between two spaces, have no number.
                let word = self.numbers.get(word).map(|&number| u64::from(number));
                if let (Some(before), Some(word)) = (before, word) {
                    act(before << 32 | word);
                }
                before = word;
            }
        }
    }

    /// The bigrams that are queries. How many buckets there are, `2^bits`, makes no difference to them.
    fn count(
        &self,
        file: &CaptionFile,
        bits: u32,
        progress: &mut impl FnMut(u64),
    ) -> Result<Vec<(String, u64)>, CurateError> {
        let buckets: Vec<AtomicU32> = (0..1_u32 << bits).map(|_| AtomicU32::new(0)).collect();
        // Fibonacci hashing: the upper bits depend on all of the key (Knuth, volume 3, section 6.4).
        let bucket = |key: Key| &buckets[(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize];
        in_batches(file, |records| {
            records.par_iter().for_each(|record| {
                self.for_each(record, |key| {
                    // Stays full once it is: the order of additions does not matter, nor that of other accesses.
                    let more = |count: u32| Some(count.saturating_add(1));
                    let _ = bucket(key).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
                });
            });
            progress(records.len() as u64);
            Ok(())
        })?;
        let may_be_query = |key| match bucket(key).load(Ordering::Relaxed) {
            u32::MAX => true,
            at_most => self.is_query(key, at_most.into()),
        };
        let mut counts: HashMap<Key, u64> = HashMap::new();
        in_batches(file, |records| {
            let of_record = |mut counts: HashMap<Key, u64>, record: &Record| {
                self.for_each(record, |key| {
                    if may_be_query(key) {
                        *counts.entry(key).or_default() += 1;
                    }
                });
                counts
            };
            add(&mut counts, counted(records, of_record));
            progress(records.len() as u64);
            Ok(())
        })?;
        counts.retain(|&key, count| self.is_query(key, *count));
        let named = |(key, count)| {
            let [(a, _), (b, _)] = self.words_of(key);
            (format!("{a} {b}"), count)
        };
        Ok(counts.into_iter().map(named).collect())
    }
}

/// Binary logarithm of the number of buckets: one for each word of the text, while that is not too many.
fn bucket_bits(num_words: u64) -> u32 {
    let bits = u64::BITS - num_words.leading_zeros();
    bits.clamp(1, MAX_BUCKET_BITS)
}

/// Counts of some pairs, on all cores.
fn counted<K: Eq + Hash + Send>(
    records: &[Record],
    of_record: impl Fn(HashMap<K, u64>, &Record) -> HashMap<K, u64> + Sync + Send,
) -> HashMap<K, u64> {
    let merged = |a: HashMap<K, u64>, b: HashMap<K, u64>| {
        let (mut large, small) = if a.len() < b.len() { (b, a) } else { (a, b) };
        add(&mut large, small);
        large
    };
    records
        .par_iter()
        .fold(HashMap::new, of_record)
        .reduce(HashMap::new, merged)
}

fn add<K: Eq + Hash>(counts: &mut HashMap<K, u64>, more: HashMap<K, u64>) {
    for (key, count) in more {
        *counts.entry(key).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn queries_of(text: &str, min_count: u64, min_pmi: Option<f64>) -> Vec<(String, u64)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.txt");
        fs::write(&path, text).unwrap();
        let (mut done, file) = (0, CaptionFile::open(&path, None).unwrap());
        let found = count_queries(&file, &QueryRules { min_count, min_pmi }, |lines| done += lines).unwrap();
        let passes = if min_pmi.is_some() { 3 } else { 1 };
        assert_eq!(done, passes * text.lines().count() as u64);
        found
    }

    fn told(found: Vec<(String, u64)>) -> Vec<String> {
        found
            .into_iter()
            .map(|(query, count)| format!("{query} {count}"))
            .collect()
    }

    #[test]
    fn frequent_words_become_queries() {
        let text = "A dog, a hot dog.\nthe dog; it's a cat!\n3 dogs - - -\n";
        assert_eq!(told(queries_of(text, 2, None)), ["dog 3", "a 2"]);
        let all: Vec<String> = queries_of(text, 1, None).into_iter().map(|(word, _)| word).collect();
        assert_eq!(all, ["dog", "a", "3", "A", "cat", "dogs", "hot", "it's", "the"]);
    }

    /// 16 words: new and york 4 times each, 3 of them together; the 4 times, once before new.
    const TEXT: &str = "new york the\nnew york\nthe new york\nthe, new. york\nthe  end was here\ndog\n";

    #[test]
    fn bigrams_come_together_more_often_than_by_chance() {
        // log2(3 * 16 / (4 * 4)) = log2(3) = 1.585 for "new york", log2(1 * 16 / (4 * 4)) = 0 for "the new" and "york the".
        let words = ["new 4", "the 4", "york 4"];
        let with = |min_count, min_pmi| told(queries_of(TEXT, min_count, Some(min_pmi)));
        assert_eq!(with(2, 1.58), [&words[..], &["new york 3"]].concat());
        assert_eq!(with(2, 1.59), words);
        assert_eq!(with(4, 0.0), words, "3 times are too few");
        let rare = [
            "dog 1",
            "end 1",
            "end was 1",
            "here 1",
            "the new 1",
            "was 1",
            "was here 1",
            "york the 1",
        ];
        let all = [&words[..], &["new york 3"], &rare[..]].concat();
        assert_eq!(with(1, 0.0), all, "signs and two spaces are no neighbourhood");
        // log2(1 * 16 / (1 * 1)) = 4 is met by "end was" and "was here" and exceeded by none.
        assert_eq!(
            with(1, 4.0)
                .iter()
                .filter(|query| query.matches(' ').count() == 2)
                .count(),
            2
        );
        assert_eq!(
            with(1, 4.01)
                .iter()
                .filter(|query| query.matches(' ').count() == 2)
                .count(),
            0
        );
    }

    /// Counts without ids, buckets and threads.
    fn naive(text: &str, min_count: u64, min_pmi: f64) -> Vec<(String, u64)> {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for line in text.lines() {
            let mut spaced = String::new();
            space(line, &mut spaced);
            let parts: Vec<&str> = spaced.split(' ').collect();
            let is_word = |word: &&&str| word.chars().any(char::is_alphanumeric);
            parts
                .iter()
                .filter(is_word)
                .for_each(|word| *counts.entry(word.to_string()).or_default() += 1);
            for pair in parts.windows(2).filter(|pair| pair.iter().all(|word| is_word(&word))) {
                *counts.entry(pair.join(" ")).or_default() += 1;
            }
        }
        let all: u64 = counts
            .iter()
            .filter(|(word, _)| !word.contains(' '))
            .map(|(_, count)| count)
            .sum();
        let is_query = |query: &str, count: u64| match query.split_once(' ') {
            None => count >= min_count,
            Some((a, b)) => {
                let pmi = (count as f64 * all as f64 / (counts[a] as f64 * counts[b] as f64)).log2();
                count >= min_count && pmi >= min_pmi
            }
        };
        let mut found: Vec<(String, u64)> = counts
            .iter()
            .filter(|(query, count)| is_query(query, **count))
            .map(|(query, count)| (query.clone(), *count))
            .collect();
        found.sort_by_key(|(query, count)| (std::cmp::Reverse(*count), query.clone()));
        found
    }

    proptest! {
        #[test]
        fn buckets_and_threads_make_no_difference(
            lines in prop::collection::vec("([abc]|ab|[ .]){0,30}", 1..20),
            min_count in 1_u64..6,
            // No bigram's information is so near to one of these that rounding decides.
            min_pmi in prop::sample::select(vec![-7.01, -0.3137, 0.7171, 1.5151]),
        ) {
            let spaced: Vec<String> = lines.iter().map(|line| line.replace('b', "b ")).collect();
            let text = spaced.join("\n");
            let expected = naive(&text, min_count, min_pmi);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("c.txt");
            fs::write(&path, &text).unwrap();
            let file = CaptionFile::open(&path, None).unwrap();
            for (bits, threads) in [(1, 1), (2, 3), (20, 2)] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| {
                    let (mut queries, num_words) = count_words(&file, min_count, &mut |_| {}).unwrap();
                    let bigrams = Bigrams::new(&queries, num_words, min_count, min_pmi);
                    let counted = bigrams.count(&file, bits, &mut |_| {}).unwrap();
                    queries.extend(counted);
                    queries.sort_by_key(|(query, count)| (std::cmp::Reverse(*count), query.clone()));
                    queries
                });
                prop_assert_eq!(&found, &expected);
            }
        }
    }

    #[test]
    fn buckets_grow_with_the_text_up_to_a_limit() {
        assert_eq!([0, 1, 2, 1023, 1024, u64::MAX].map(bucket_bits), [1, 1, 2, 10, 11, 26]);
    }
}
