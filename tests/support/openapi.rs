//! Prometheus' own description of its API, and whether an answer is what it says.
//!
//! Knows as much of JSON Schema as the description uses. Invariant: a word of a schema that is not known here fails the test, so
//! nothing is taken for right because nobody looked.

use serde_json::{Map, Value};

const DESCRIPTION: &str = include_str!("../data/prometheus-openapi/openapi_3.1_golden.yaml");

/// Words that say nothing about what is right.
const IGNORED: [&str; 5] = ["default", "description", "example", "examples", "minimum"];

/// The description.
pub struct OpenApi(Value);

impl OpenApi {
    /// Reads it.
    pub fn read() -> Self {
        Self(serde_saphyr::from_str(DESCRIPTION).expect("the description is YAML"))
    }

    /// Every path, without the prefix `/api/v1`, and the methods it takes.
    pub fn operations(&self) -> Vec<(String, String)> {
        let paths = self.0["paths"].as_object().expect("paths");
        let methods = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(|method| (path.clone(), method.to_uppercase()))
        });
        methods.collect()
    }

    /// Why a body is no right answer of a path; nothing if it is one.
    pub fn check(&self, path: &str, method: &str, status: u16, body: &Value) -> Result<(), String> {
        let responses = &self.0["paths"][path][method.to_lowercase()]["responses"];
        let response = responses.get(status.to_string()).or_else(|| responses.get("default"));
        let response = response.ok_or_else(|| format!("{method} {path} is not described"))?;
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status} has no schema");
        self.fits(schema, body, "$")
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = schema.as_object().expect("a schema");
        for (word, of_word) in schema {
            match word.as_str() {
                "$ref" => self.fits(self.referred(of_word), value, at)?,
                "anyOf" | "oneOf" => self.fits_one(word, of_word, value, at)?,
                "type" => has_type(of_word, value, at)?,
                "enum" => {
                    let known = of_word.as_array().expect("values").contains(value);
                    refuse(!known, || format!("{at}: {value} is none of {of_word}"))?;
                }
                "format" => has_format(of_word, value, at)?,
                "required" => {
                    let names = of_word.as_array().expect("names");
                    let missing = names.iter().find(|name| value.get(name.as_str().expect("a name")).is_none());
                    refuse(missing.is_some(), || format!("{at}: {missing:?} is missing"))?;
                }
                "properties" => {
                    for (name, of_name) in of_word.as_object().expect("properties") {
                        if let Some(value) = value.get(name) {
                            self.fits(of_name, value, &format!("{at}.{name}"))?;
                        }
                    }
                }
                "additionalProperties" => self.fits_more(schema, of_word, value, at)?,
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.fits(of_word, value, &format!("{at}[{index}]"))?;
                    }
                }
                "minItems" | "maxItems" => {
                    let length = value.as_array().map_or(0, Vec::len) as u64;
                    let bound = of_word.as_u64().expect("a number");
                    let is_wrong = if word == "minItems" { length < bound } else { length > bound };
                    refuse(is_wrong, || format!("{at}: {length} items, {word} is {bound}"))?;
                }
                word => assert!(IGNORED.contains(&word), "{at}: `{word}` is not known here"),
            }
        }
        Ok(())
    }

    fn fits_one(&self, word: &str, schemas: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schemas = schemas.as_array().expect("schemas");
        let wrong: Vec<String> = schemas.iter().filter_map(|schema| self.fits(schema, value, at).err()).collect();
        let right = schemas.len() - wrong.len();
        let is_wrong = right == 0 || (word == "oneOf" && right > 1);
        refuse(is_wrong, || format!("{at}: {right} of {word} fit: {}", wrong.join("; ")))
    }

    fn fits_more(&self, schema: &Map<String, Value>, more: &Value, value: &Value, at: &str) -> Result<(), String> {
        let known = schema.get("properties").and_then(Value::as_object);
        for (name, value) in value.as_object().into_iter().flatten() {
            if known.is_some_and(|known| known.contains_key(name)) {
                continue;
            }
            match more {
                Value::Bool(allowed) => refuse(!allowed, || format!("{at}: there is no `{name}`"))?,
                schema => self.fits(schema, value, &format!("{at}.{name}"))?,
            }
        }
        Ok(())
    }

    fn referred(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).expect("a place in this file");
        self.0.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not there"))
    }
}

fn has_type(of_word: &Value, value: &Value, at: &str) -> Result<(), String> {
    let is = match of_word.as_str().expect("one type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("type `{other}` is not known here"),
    };
    refuse(!is, || format!("{at}: {value} is no {of_word}"))
}

fn has_format(of_word: &Value, value: &Value, at: &str) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    let is = match of_word.as_str().expect("a format") {
        "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        "int64" | "double" => true,
        other => panic!("format `{other}` is not known here"),
    };
    refuse(!is, || format!("{at}: {value} is no {of_word}"))
}

fn refuse(is_wrong: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is_wrong { Err(why()) } else { Ok(()) }
}
