//! The contract that is committed is the one that the code has, and it leaves no route out.

use std::collections::BTreeSet;

use pulsecal_api::policy::{RULES, Who};
use serde_json::Value;

use crate::fences::root;

fn document() -> Value {
    serde_json::from_str(&pulsecal_api::contract::text()).expect("the document is JSON")
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("an object").iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    all.collect()
}

#[test]
fn the_committed_document_is_the_one_that_the_code_makes() {
    let committed = std::fs::read_to_string(root().join("docs/openapi.json")).expect("docs/openapi.json");
    let made = pulsecal_api::contract::text();
    let at = committed.lines().zip(made.lines()).position(|(old, new)| old != new);
    assert!(
        committed == made,
        "docs/openapi.json is not what the code makes (line {}): run ./dev openapi, look at the difference, and commit it",
        at.map_or(0, |at| at + 1)
    );
}

#[test]
fn every_route_of_the_table_is_in_the_document_and_no_other() {
    let document = document();
    let described: BTreeSet<_> = operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let table: BTreeSet<_> = RULES.iter().map(|rule| (rule.method.to_owned(), rule.path.to_owned())).collect();
    assert_eq!(described, table);
}

#[test]
fn an_operation_says_who_may_and_what_else_it_answers() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let about = format!("{method} {path}");
        let rule = RULES.iter().find(|rule| rule.method == method && rule.path == path).expect("a rule");
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{about}");
        let access = &operation["x-access"];
        assert_eq!(access["scope"].as_str(), rule.who.scope().map(|scope| scope.as_str()), "{about}");
        let answers = operation["responses"].as_object().expect("answers");
        if let Who::Token(scope) = rule.who {
            assert_eq!(operation["security"][0]["token"][0], scope.as_str(), "{about}");
            assert!(!access["roles"].as_array().expect("roles").is_empty(), "{about}");
            for status in ["401", "403", "429", "500", "503"] {
                assert!(answers.contains_key(status), "{about}: {status}");
            }
        }
        let takes = |name: &str| {
            operation["parameters"].as_array().is_some_and(|all| all.iter().any(|parameter| parameter["name"] == name))
        };
        if method != "GET" && path.starts_with("/v1/") {
            assert!(takes("Idempotency-Key"), "{about}");
        }
        assert_eq!(takes("If-Match"), answers.contains_key("412"), "{about}");
    }
}

/// The schema that a reference leads to, or the schema itself.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}")),
        None => schema,
    }
}

fn properties<'a>(document: &'a Value, schema: &'a Value) -> BTreeSet<&'a str> {
    let schema = resolved(document, schema);
    let own = schema["properties"].as_object().into_iter().flat_map(|all| all.keys().map(String::as_str));
    let parts = schema["allOf"].as_array().into_iter().flatten().flat_map(|part| properties(document, part));
    own.chain(parts).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flat_map(|all| all.keys().map(String::as_str)).collect()
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(document: &Value, value: &Value, seen: &mut usize) {
        match value {
            Value::Object(all) => {
                if let Some(Value::String(reference)) = all.get("$ref") {
                    assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                    *seen += 1;
                }
                all.values().for_each(|value| walk(document, value, seen));
            }
            Value::Array(all) => all.iter().for_each(|value| walk(document, value, seen)),
            _ => {}
        }
    }
    let (document, mut seen) = (document(), 0);
    walk(&document, &document, &mut seen);
    assert!(seen > 500, "{seen}");
}

#[test]
fn an_example_has_the_fields_of_what_it_is_an_example_of() {
    let document = document();
    let mut compared = 0;
    for (method, path, operation) in operations(&document) {
        let about = format!("{method} {path}");
        let taken = &operation["requestBody"]["content"]["application/json"];
        if !taken.is_null() {
            let known = properties(&document, &taken["schema"]);
            assert!(!taken["example"].is_null() && keys(&taken["example"]).is_subset(&known), "{about}");
        }
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            let shown = &answer["content"]["application/json"];
            let (mut schema, mut example) = (&shown["schema"], &shown["example"]);
            if schema.is_null() {
                continue;
            }
            if let Some(row) = schema["properties"]["items"]["items"].as_object() {
                (schema, example) = (&schema["properties"]["items"]["items"], &example["items"][0]);
                assert!(!row.is_empty(), "{about}");
            }
            assert_eq!(keys(example), properties(&document, schema), "{about} {status}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn every_problem_that_the_code_knows_is_in_the_document() {
    let document = document();
    let known: BTreeSet<&str> = document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
        .as_array()
        .expect("the types")
        .iter()
        .filter_map(|urn| urn.as_str()?.strip_prefix("urn:pulsecal:problem:"))
        .collect();
    let code = std::fs::read_to_string(root().join("api/src/problem.rs")).expect("readable");
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    // `Self::new(StatusCode::…, "code", …)`, on one line or several.
    let coded = code.split("StatusCode::").filter_map(|part| {
        let (_, rest) = part.split_once(',')?;
        let word = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        Some(word)
    });
    let coded: BTreeSet<&str> = coded.collect();
    assert!(coded.len() > 15 && coded.contains("invalid_fields"), "{coded:?}");
    assert_eq!(coded.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new());
}
