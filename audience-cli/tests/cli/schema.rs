//! Holds what the programs print against `docs/schema.json`, which is what scripts may rely on.
//!
//! The checker knows the part of JSON Schema that the file uses, and refuses the rest, so that nothing
//! in it goes unchecked. A library for all of JSON Schema would bring some thirty crates.

use serde_json::Value;

const SCHEMA: &str = include_str!("../../../docs/schema.json");

/// Panics unless a document, or a line of `--jsonl`, is as the schema has it.
#[track_caller]
pub(crate) fn check(document: &Value) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut wrong = Vec::new();
    Checker { root: &schema }.check(&schema, document, "", &mut wrong);
    assert!(wrong.is_empty(), "{}\nin {document}", wrong.join("\n"));
}

struct Checker<'a> {
    root: &'a Value,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let rules = schema.as_object().unwrap_or_else(|| panic!("no schema at {at}: {schema}"));
        for (rule, asked) in rules {
            match rule.as_str() {
                "$schema" | "$id" | "title" | "description" | "$defs" | "$comment" => {}
                "$ref" => self.check(self.find(asked.as_str().unwrap()), value, at, wrong),
                "type" => {
                    if !has_type(asked, value) {
                        wrong.push(format!("{at}: {value} is no {asked}"));
                    }
                }
                "const" => {
                    if asked != value {
                        wrong.push(format!("{at}: {value} is not {asked}"));
                    }
                }
                "enum" => {
                    if !asked.as_array().unwrap().contains(value) {
                        wrong.push(format!("{at}: {value} is none of {asked}"));
                    }
                }
                "anyOf" => {
                    let tried = asked.as_array().unwrap().iter().map(|one| {
                        let mut wrong = Vec::new();
                        self.check(one, value, at, &mut wrong);
                        wrong
                    });
                    // What is wrong with the form that fits best.
                    wrong.extend(tried.min_by_key(Vec::len).unwrap());
                }
                "required" => {
                    for name in asked.as_array().unwrap() {
                        if value
                            .as_object()
                            .is_some_and(|it| !it.contains_key(name.as_str().unwrap()))
                        {
                            wrong.push(format!("{at}: lacks {name}"));
                        }
                    }
                }
                "properties" => self.properties(schema, value, at, wrong),
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(asked, item, &format!("{at}[{n}]"), wrong);
                    }
                }
                // Checked with `properties`.
                "additionalProperties" => {
                    if !rules.contains_key("properties") {
                        self.properties(schema, value, at, wrong);
                    }
                }
                rule => panic!("{at}: the checker does not know {rule}"),
            }
        }
    }

    fn properties(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        for (name, value) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => self.check(schema, value, &at, wrong),
                (None, Value::Object(_)) => {
                    self.check(&schema["additionalProperties"], value, &at, wrong);
                }
                // The schema allows more, because fields are added over time. Here each is told.
                (None, _) => wrong.push(format!("{at}: nobody told of it")),
            }
        }
    }

    fn find(&self, reference: &str) -> &Value {
        let place = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference}"));
        self.root.pointer(place).unwrap_or_else(|| panic!("the schema has no {reference}"))
    }
}

fn has_type(asked: &Value, value: &Value) -> bool {
    if let Value::Array(any) = asked {
        return any.iter().any(|asked| has_type(asked, value));
    }
    match asked.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"],
        "properties": {"a": {"type": ["integer", "null"]}, "b": {"enum": ["x"]},
                       "c": {"type": "array", "items": {"$ref": "#/$defs/d"}}},
        "$defs": {"d": {"anyOf": [{"const": 1}, {"type": "string"}]}},
    });
    let told = |text: &str| {
        let mut wrong = Vec::new();
        let value = serde_json::from_str(text).unwrap();
        Checker { root: &schema }.check(&schema, &value, "", &mut wrong);
        wrong.sort();
        wrong
    };
    for good in [r#"{"a":1}"#, r#"{"a":null,"b":"x","c":[1,"y"]}"#] {
        assert_eq!(told(good), [""; 0]);
    }
    assert_eq!(told("{}"), [": lacks \"a\""]);
    assert_eq!(told(r#"{"a":"1"}"#), [r#".a: "1" is no ["integer","null"]"#]);
    assert_eq!(
        told(r#"{"a":1,"b":"y","e":1}"#),
        [r#".b: "y" is none of ["x"]"#, ".e: nobody told of it"]
    );
    assert_eq!(told(r#"{"a":1,"c":[2]}"#), [".c[0]: 2 is not 1"]);
}
