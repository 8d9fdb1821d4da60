//! The OpenAPI document (version 3.1.0) of the API.
//!
//! An [`Op`] says of one operation what a client must know; [`Routes`] takes it together with the handler, so that there
//! is no route without its documentation.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Api;
use crate::auth::Role;

/// Where it is served.
pub(crate) const PATH: &str = "/api/v1/openapi.json";

const ABOUT: &str = "What onrecord has on record, and what can be asked of it. A call that reads payload is put on record \
    itself; the header `x-onrecord-purpose` says why it is made. Times are RFC 3339 in UTC, or microseconds since \
    1970-01-01 UTC where a name ends in `_us` or a parameter says so.";

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// An operation: what it does, takes and gives.
pub(super) struct Op {
    id: &'static str,
    says: &'static str,
    places: &'static [(&'static str, &'static str, &'static str)],
    query: Option<(SchemaOf, Value)>,
    body: Option<(SchemaOf, Value)>,
    status: u16,
    answer: Vec<(&'static str, SchemaOf)>,
}

/// An operation's name, as generated clients call it, and what it does: a first sentence, and more if there is.
pub(super) fn op(id: &'static str, says: &'static str) -> Op {
    Op { id, says, places: &[], query: None, body: None, status: 200, answer: Vec::new() }
}

impl Op {
    /// The variables of its path: name, meaning, example.
    pub(super) fn at(self, places: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        Self { places, ..self }
    }

    /// The parameters behind the question mark, with an example of some of them.
    pub(super) fn query<T: JsonSchema>(self, example: Value) -> Self {
        Self { query: Some((T::json_schema, example)), ..self }
    }

    /// A JSON body, with an example.
    pub(super) fn takes<T: JsonSchema>(self, example: Value) -> Self {
        Self { body: Some((schema_of::<T>, example)), ..self }
    }

    /// A JSON answer.
    pub(super) fn gives<T: JsonSchema>(self) -> Self {
        self.gives_as::<T>("application/json")
    }

    /// An answer of another type; called several times if the `Accept` header decides.
    pub(super) fn gives_as<T: JsonSchema>(mut self, media: &'static str) -> Self {
        self.answer.push((media, schema_of::<T>));
        self
    }

    /// It answers 201 instead of 200.
    pub(super) fn created(self) -> Self {
        Self { status: 201, ..self }
    }
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Routes, and what the document says of them.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Api>,
    operations: Vec<Operation>,
}

struct Operation {
    method: &'static str,
    path: &'static str,
    roles: &'static [Role],
    op: Op,
}

impl Routes {
    pub(super) fn get<T: 'static>(self, path: &'static str, op: Op, handler: impl Handler<T, Api>) -> Self {
        self.add("get", path, op, get(handler))
    }

    pub(super) fn post<T: 'static>(self, path: &'static str, op: Op, handler: impl Handler<T, Api>) -> Self {
        self.add("post", path, op, post(handler))
    }

    fn add(mut self, method: &'static str, path: &'static str, op: Op, route: MethodRouter<Api>) -> Self {
        self.operations.push(Operation { method, path, roles: &[], op });
        Self { router: self.router.route(path, route), ..self }
    }

    /// Changes the routes that are there so far, e.g. by a layer.
    pub(super) fn with(self, change: impl FnOnce(Router<Api>) -> Router<Api>) -> Self {
        Self { router: change(self.router), ..self }
    }

    /// A token of one of these roles is needed.
    pub(super) fn for_roles(mut self, roles: &'static [Role]) -> Self {
        self.operations.iter_mut().for_each(|operation| operation.roles = roles);
        self
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        self.operations.extend(other.operations);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// The router, and the document of it.
    pub(super) fn finish(self) -> (Router<Api>, Value) {
        (self.router, document(&self.operations))
    }
}

fn document(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut asked = settings.clone().into_generator();
    let mut given = settings.for_serialize().into_generator();
    let mut paths = Map::new();
    for operation in operations {
        // OpenAPI has no variable for the rest of a path.
        let path = operation.path.replace("{*", "{");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[operation.method] = describe(operation, &mut asked, &mut given);
    }
    let mut schemas = given.take_definitions(true);
    schemas.extend(asked.take_definitions(true));
    schemas.insert("Error".into(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "onrecord",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:4180" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": { "Error": {
                "description": "It was refused, or it failed: why, and what to do about it.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            } },
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "An access token of `onrecord token create`." },
                "token": { "type": "apiKey", "in": "header", "name": "x-onrecord-token" },
            },
        },
    })
}

fn describe(operation: &Operation, asked: &mut SchemaGenerator, given: &mut SchemaGenerator) -> Value {
    let Operation { path, roles, op, .. } = operation;
    let mut description = op.says.to_owned();
    if !roles.is_empty() {
        let names: Vec<_> = roles.iter().map(|role| format!("`{role}`")).collect();
        description += &format!("\n\nNeeds a token of the role {}.", names.join(" or "));
    }
    let group = path.trim_start_matches("/api/v1").split('/').nth(1).unwrap_or_default();
    let summary = op.says.split_inclusive(". ").next().unwrap_or_default().trim().trim_end_matches('.');
    let mut described = json!({
        "operationId": op.id,
        "tags": [group],
        "summary": summary,
        "description": description,
        "responses": { "default": { "$ref": "#/components/responses/Error" } },
    });
    if !roles.is_empty() {
        described["security"] = json!([{ "bearer": [] }, { "token": [] }]);
    }
    let mut parameters: Vec<Value> = op.places.iter().map(place).collect();
    if let Some((schema, example)) = &op.query {
        parameters.extend(query(schema(asked), example));
    }
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some((schema, example)) = &op.body {
        let content = json!({ "application/json": { "schema": schema(asked), "example": example } });
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    let content = op.answer.iter().map(|(media, schema)| ((*media).to_owned(), json!({ "schema": schema(given) })));
    described["responses"][op.status.to_string()] =
        json!({ "description": "What was asked for.", "content": content.collect::<Map<_, _>>() });
    described
}

fn place((name, meaning, example): &(&str, &str, &str)) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": meaning, "example": example,
        "schema": { "type": "string" } })
}

/// A parameter for each property of the object that a query string is read as.
fn query(schema: Schema, example: &Value) -> Vec<Value> {
    let schema = schema.to_value();
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let properties = schema["properties"].as_object().into_iter().flatten();
    let parameter = |(name, property): (&String, &Value)| {
        let mut property = property.clone();
        let description = property.as_object_mut().and_then(|property| property.remove("description"));
        without_null(&mut property);
        let mut parameter = json!({ "name": name, "in": "query", "required": required(name), "schema": property });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        if let Some(example) = example.get(name) {
            parameter["example"] = example.clone();
        }
        parameter
    };
    properties.map(parameter).collect()
}

/// A parameter is left out; null cannot be sent.
fn without_null(property: &mut Value) {
    if let Some([one, null]) = property["type"].as_array().map(Vec::as_slice)
        && null == "null"
    {
        property["type"] = one.clone();
    }
    if let Some([one, null]) = property["anyOf"].as_array().map(Vec::as_slice)
        && null["type"] == "null"
    {
        *property = one.clone();
    }
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": { "type": "string", "description": "For programs, e.g. `bad_request`, `not_found`, `query_limit`." },
                "message": { "type": "string", "description": "For people." },
            },
        } },
    })
}

/// What an answer or a body is whose form is not of this API.
macro_rules! form {
    ($name:ident, $schema:tt) => {
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

form!(Text, { "type": "string" });
form!(Bytes, { "type": "string", "format": "binary" });
form!(Lines, { "type": "string", "description": "A JSON object a line." });
form!(Object, { "type": "object" });
form!(Rows, { "anyOf": [
    { "type": "array", "items": { "type": "object" } },
    {
        "type": "object",
        "description": "If `rows` was given.",
        "required": ["rows", "truncated"],
        "properties": {
            "rows": { "type": "array", "items": { "type": "object" } },
            "truncated": { "type": "boolean", "description": "There are more rows than were asked for." },
        },
    },
] });
