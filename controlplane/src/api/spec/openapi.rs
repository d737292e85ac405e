//! What does this API look like to tools that know OpenAPI? The document, made from the table of
//! operations that the router uses and the shapes that requests are checked by.

use serde_json::{Map, Value, json};

use super::operations::{self, Spec};
use super::{Kind, Member, label_rule};
use crate::api::route::table::OPERATIONS;
use crate::api::validate::Form;

/// The document, OpenAPI 3.0.
pub fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let Some((method, path)) = operation.pattern.split_once(' ') else { continue };
        let Some(spec) = operations::of(operation.name()) else { continue };
        // Two that differ by names alone are one to OpenAPI, whatever AWS's models call them.
        let same = paths.keys().find(|known| template(known) == template(path)).cloned();
        let path = &same.unwrap_or_else(|| path.to_owned());
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[method.to_ascii_lowercase()] = described(path, operation.action, spec);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Tidegate",
            "description": "AWS IoT Wireless with CoAP devices. Every request is signed with \
                Signature Version 4, signing name iotwireless.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": { "Error": {
                "type": "object",
                "properties": {
                    "Message": { "type": "string" },
                    "message": { "type": "string" },
                    "ResourceId": { "type": "string" },
                    "ResourceType": { "type": "string" },
                    "ResourceName": { "type": "string" },
                    "fieldList": { "type": "array", "items": { "type": "object" } },
                },
            } },
            "securitySchemes": { "sigv4": {
                "type": "apiKey", "in": "header", "name": "Authorization",
                "x-amazon-apigateway-authtype": "awsSigv4",
            } },
        },
        "security": [{ "sigv4": [] }],
    })
}

/// A path without the names in its braces.
fn template(path: &str) -> Vec<&str> {
    let nameless = |segment: &'_ str| segment.starts_with('{');
    path.split('/').map(|segment| if nameless(segment) { "{}" } else { segment }).collect()
}

fn described(path: &str, action: &str, spec: &Spec) -> Value {
    let labels = path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        let mut schema = schema(&Kind::Text(label_rule(name)));
        schema["minLength"] = json!(1);
        Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
    });
    let query = spec.query.iter().map(|member| {
        json!({
            "name": member.name, "in": "query", "required": member.required,
            "schema": schema(&member.kind),
        })
    });
    let parameters: Vec<Value> = labels.chain(query).collect();
    let mut answers = Map::new();
    let mut success = json!({ "description": "Done." });
    if let Some(output) = spec.output {
        success["content"] = json!({ "application/json": { "schema": structure(output) } });
    }
    answers.insert(spec.status.to_string(), success);
    let refused = json!({
        "description": "Refused: the header x-amzn-ErrorType names the shape.",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    });
    answers.insert("default".to_owned(), refused);
    let mut described = json!({
        "operationId": spec.name,
        "x-iam-action": action,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some(input) = spec.input {
        let content = json!({ "application/json": { "schema": structure(input) } });
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described
}

fn structure(members: &[Member]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|member| (member.name.to_owned(), schema(&member.kind))).collect();
    let required: Vec<&str> =
        members.iter().filter(|member| member.required).map(|member| member.name).collect();
    let mut shape = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        shape["required"] = json!(required);
    }
    shape
}

fn schema(kind: &Kind) -> Value {
    match kind {
        Kind::Removable(rule) => {
            let mut text = schema(&Kind::Text(rule));
            text["minLength"] = json!(0);
            if let Some(pattern) = rule.form.pattern() {
                text["pattern"] = json!(format!("^(?:{pattern})?$"));
            }
            text
        }
        Kind::Text(rule) => {
            let mut text = json!({ "type": "string" });
            if rule.min > 0 {
                text["minLength"] = json!(rule.min);
            }
            if rule.max < usize::MAX {
                text["maxLength"] = json!(rule.max);
            }
            if let Some(pattern) = rule.form.pattern() {
                text["pattern"] = json!(format!("^(?:{pattern})$"));
            }
            match rule.form {
                Form::Any | Form::Pattern(..) => {}
                Form::Words(words, ..) => text["description"] = json!(words),
                Form::OneOf(set) => text["enum"] = json!(set),
            }
            text
        }
        Kind::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Number => json!({ "type": "number" }),
        Kind::Decimal(least, most) => {
            json!({ "type": "number", "minimum": least, "maximum": most })
        }
        Kind::Map => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Kind::OneOf(kinds) => {
            json!({ "oneOf": kinds.iter().map(schema).collect::<Vec<Value>>() })
        }
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::List(kind, most) => {
            json!({ "type": "array", "items": schema(kind), "maxItems": most })
        }
        Kind::Structure(members) => structure(members),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_table_is_described_and_no_other() {
        for operation in OPERATIONS {
            assert!(operations::of(operation.name()).is_some(), "{}", operation.name());
        }
        for spec in operations::SPECS {
            let is_there = OPERATIONS.iter().any(|operation| operation.name() == spec.name);
            assert!(is_there, "{}", spec.name);
        }
    }

    /// As OpenAPI counts them.
    #[test]
    fn no_two_paths_are_one() {
        let document = document();
        let paths = document["paths"].as_object().expect("an object");
        let mut templates: Vec<_> = paths.keys().map(|path| template(path)).collect();
        templates.sort_unstable();
        templates.dedup();
        assert_eq!(templates.len(), paths.len());
        let both = &paths["/wireless-devices/{Id}"];
        for method in ["get", "patch", "delete"] {
            assert_eq!(both[method]["parameters"][0]["name"], "Id", "{method}");
        }
    }

    /// `docs/openapi.json` is this document. To write it anew: `make docs`.
    #[test]
    fn the_document_in_docs_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let made = format!("{:#}\n", document());
        if std::env::var_os("TIDEGATE_WRITE_DOCS").is_some() {
            std::fs::write(path, &made).expect("docs can be written");
        }
        let held = std::fs::read_to_string(path).unwrap_or_default();
        assert!(held == made, "docs/openapi.json is not what the code makes: run `make docs`");
    }
}
