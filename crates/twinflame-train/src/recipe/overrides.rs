//! `--set key=value`: one assignment to a dotted key, the value written as in TOML.

use toml::{Table, Value};

use super::error::RecipeError;

/// One `--set` argument.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The argument as given.
    pub(super) argument: String,
    /// The dotted key.
    pub(super) path: String,
    value: Value,
}

impl Assignment {
    /// Parses `a.b=value`. A value that is not TOML is taken as text when it is a bare word, so that
    /// `model.name=emoji-vit` needs no quotes in a shell.
    ///
    /// # Errors
    /// If there is no `=`, the key is not dotted words, or the value is neither TOML nor a bare word.
    pub fn parse(argument: &str) -> Result<Self, RecipeError> {
        let fail = |message: &str| RecipeError::Set {
            assignment: argument.to_owned(),
            message: message.to_owned(),
        };
        let (path, value) = argument
            .split_once('=')
            .ok_or_else(|| fail("an assignment is `key=value`, for example `optim.lr=5e-4`"))?;
        let path = path.trim();
        let word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !path.split('.').all(word) {
            return Err(fail("the key is dotted words, for example `optim.lr`"));
        }
        Ok(Self {
            argument: argument.to_owned(),
            path: path.to_owned(),
            value: parse_value(value.trim()).ok_or_else(|| {
                fail("the value is not TOML: text with spaces or signs needs quotes, a list is `[1, 2]`")
            })?,
        })
    }

    /// Puts the value into a recipe's table, making sections on the way.
    pub(super) fn apply(&self, root: &mut Table) -> Result<(), RecipeError> {
        let (section, key) = self.path.rsplit_once('.').unwrap_or(("", &self.path));
        let mut table = root;
        for part in section.split('.').filter(|part| !part.is_empty()) {
            table = table
                .entry(part)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .ok_or_else(|| RecipeError::Set {
                    assignment: self.argument.clone(),
                    message: format!("`{part}` is a value, not a section"),
                })?;
        }
        table.insert(key.to_owned(), self.value.clone());
        Ok(())
    }

    /// Whether an error at `path` can come from this assignment.
    pub(super) fn touches(&self, path: &str) -> bool {
        path == self.path || path.strip_prefix(&self.path).is_some_and(|rest| rest.starts_with('.'))
    }
}

fn parse_value(text: &str) -> Option<Value> {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    if let Some(mut table) = parsed.filter(|table| table.len() == 1) {
        return table.remove("value");
    }
    let bare = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./\\:~@+".contains(c));
    bare.then(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(argument: &str) -> Value {
        Assignment::parse(argument).unwrap().value
    }

    #[test]
    fn values_are_toml_and_bare_words_are_text() {
        assert_eq!(value("a=1"), Value::Integer(1));
        assert_eq!(value("a = 1e-3"), Value::Float(1e-3));
        assert_eq!(value("a=true"), Value::Boolean(true));
        assert_eq!(value("a=[1, 2]").as_array().unwrap().len(), 2);
        assert_eq!(value("a=emoji-vit"), Value::String("emoji-vit".into()));
        assert_eq!(value("a=./my/photos"), Value::String("./my/photos".into()));
        assert_eq!(value("a=\"two words\""), Value::String("two words".into()));
    }

    #[test]
    fn mistakes_say_what_an_assignment_looks_like() {
        for (argument, expected) in [
            ("optim.lr", "an assignment is"),
            ("optim..lr=1", "dotted words"),
            ("a=two words", "needs quotes"),
            ("a=", "needs quotes"),
        ] {
            let message = Assignment::parse(argument).unwrap_err().to_string();
            assert!(message.contains(expected), "{argument}: {message}");
        }
    }

    #[test]
    fn sections_are_made_on_the_way_but_values_are_not_replaced_by_sections() {
        let mut table: Table = toml::from_str("seed = 1").unwrap();
        Assignment::parse("run.num_steps=5").unwrap().apply(&mut table).unwrap();
        assert_eq!(table["run"]["num_steps"].as_integer(), Some(5));
        let error = Assignment::parse("seed.x=5").unwrap().apply(&mut table).unwrap_err();
        assert!(error.to_string().contains("`seed` is a value"), "{error}");
    }
}
