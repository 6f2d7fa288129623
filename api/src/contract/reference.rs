//! `/docs`: the contract as a page for people, made from the document that programs read.

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::cached;
use crate::app::App;
use crate::pages::desk;
use crate::problem::Problem;

/// Shows the page.
pub(super) async fn show(State(app): State<App>) -> Result<Response, Problem> {
    static VIEW: OnceLock<Value> = OnceLock::new();
    let view = match VIEW.get() {
        Some(view) => view,
        None => {
            let view = view(&serde_json::to_value(cached())?);
            VIEW.get_or_init(|| view)
        }
    };
    desk::page(&app, None, StatusCode::OK, "docs", view.clone())
}

/// A sentence without the marks that Markdown has for code.
fn plain(sentence: &Value) -> String {
    text(sentence).replace('`', "")
}

/// What the page shows of the document.
fn view(document: &Value) -> Value {
    let mut groups: Vec<(String, Vec<Value>)> = Vec::new();
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            let tag = text(&operation["tags"][0]).to_owned();
            let shown = shown(document, path, method, operation);
            match groups.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, all)) => all.push(shown),
                None => groups.push((tag, vec![shown])),
            }
        }
    }
    // Resources first, then how the service is, then pages.
    groups.sort_by_key(|(tag, _)| {
        let rank = ["service", "pages"].iter().position(|last| last == tag).map_or(0, |at| at + 1);
        (rank, tag.clone())
    });
    let groups: Vec<Value> = groups.into_iter().map(|(tag, all)| json!({"name": tag, "operations": all})).collect();
    let schemas: Vec<Value> = object(&document["components"]["schemas"])
        .map(|(name, schema)| json!({"name": name, "about": plain(&schema["description"]), "words": words(schema), "fields": fields(schema)}))
        .collect();
    let about = plain(&document["info"]["description"]);
    let paragraphs: Vec<&str> = about.split("\n\n").collect();
    json!({"at": "/docs", "paragraphs": paragraphs, "version": document["info"]["version"], "groups": groups, "schemas": schemas})
}

fn shown(document: &Value, path: &str, method: &str, operation: &Value) -> Value {
    let parameters: Vec<Value> = list(&operation["parameters"])
        .map(|parameter| {
            let kind = words(&parameter["schema"]);
            json!({"name": parameter["name"], "place": parameter["in"], "needed": parameter["required"], "words": kind, "about": plain(&parameter["description"])})
        })
        .collect();
    let answers: Vec<Value> = object(&operation["responses"])
        .map(|(status, answer)| {
            let answer = resolved(document, answer);
            let headers: Vec<&str> = object(&answer["headers"]).map(|(name, _)| name).collect();
            let contents: Vec<Value> = object(&answer["content"])
                .map(|(kind, content)| json!({"kind": kind, "words": words(&content["schema"])}))
                .collect();
            json!({"status": status, "about": plain(&answer["description"]), "headers": headers, "contents": contents})
        })
        .collect();
    let content = &operation["requestBody"]["content"]["application/json"];
    let body = (!content.is_null()).then(|| {
        json!({
            "name": text(&content["schema"]["$ref"]).rsplit('/').next(), "needed": operation["requestBody"]["required"],
            "fields": fields(resolved(document, &content["schema"])), "example": pretty(&content["example"]),
        })
    });
    let good = object(&operation["responses"]).find(|(status, _)| status.starts_with('2')).map(|(_, answer)| answer);
    let example =
        good.map(|answer| &answer["content"]["application/json"]["example"]).filter(|example| !example.is_null());
    json!({
        "id": operation["operationId"], "method": method.to_uppercase(), "path": path, "summary": operation["summary"],
        "about": plain(&operation["description"]), "parameters": parameters, "body": body, "answers": answers, "example": example.map(pretty),
    })
}

/// The fields of an object: name, kind, whether it is needed, what it is.
fn fields(schema: &Value) -> Vec<Value> {
    let needed: Vec<&str> = list(&schema["required"]).map(text).collect();
    object(&schema["properties"])
        .map(|(name, field)| {
            json!({"name": name, "words": words(field), "needed": needed.contains(&name), "about": plain(&field["description"])})
        })
        .collect()
}

/// A kind of value, in words.
fn words(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or_default().to_owned();
    }
    let of = |all: &Value| list(all).map(words).filter(|words| !words.is_empty()).collect::<Vec<_>>();
    if schema["oneOf"].is_array() {
        return of(&schema["oneOf"]).join(", or ");
    }
    if schema["allOf"].is_array() {
        return of(&schema["allOf"]).first().cloned().unwrap_or_default();
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(all) => all.iter().map(text).collect(),
        one => vec![text(one)],
    };
    let null = if kinds.contains(&"null") { ", or null" } else { "" };
    if schema["enum"].is_array() {
        let all: Vec<String> = list(&schema["enum"])
            .filter(|word| !word.is_null())
            .map(|word| word.to_string().replace('"', ""))
            .collect();
        return format!("{}{null}", all.join(" | "));
    }
    let kind = kinds.first().copied().unwrap_or_default();
    let limit =
        |name: &str, words: &str| schema[name].as_i64().map(|limit| format!(" {words} {limit}")).unwrap_or_default();
    let more = match kind {
        "string" => {
            let format = schema["format"].as_str().map(|format| format!(" ({format})")).unwrap_or_default();
            let most = schema["maxLength"].as_i64().map(|most| format!(", {most} characters at most"));
            format!("{format}{}", most.unwrap_or_default())
        }
        "integer" => format!("{}{}", limit("minimum", "from"), limit("maximum", "to")),
        "array" => {
            let least = schema["minItems"].as_i64().map(|least| format!(", {least} at least")).unwrap_or_default();
            let most = schema["maxItems"].as_i64().map(|most| format!(", {most} at most")).unwrap_or_default();
            format!(" of: {}{least}{most}", words(&schema["items"]))
        }
        _ => String::new(),
    };
    let kind = match kind {
        "object" if schema["properties"].is_object() => {
            let names: Vec<String> =
                object(&schema["properties"]).map(|(name, field)| format!("{name}: {}", words(field))).collect();
            format!("object {{ {} }}", names.join("; "))
        }
        "array" => "list".to_owned(),
        "string" => "text".to_owned(),
        "integer" => "whole number".to_owned(),
        "boolean" => "true | false".to_owned(),
        other => other.to_owned(),
    };
    format!("{kind}{more}{null}")
}

/// What a reference leads to, or the thing itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let to = value["$ref"].as_str().and_then(|to| document.pointer(to.trim_start_matches('#')));
    to.unwrap_or(value)
}

fn pretty(example: &Value) -> String {
    serde_json::to_string_pretty(example).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}
