//! The description of the API, made from the handlers themselves.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::{convert, formats, status, store};

/// `GET /v1/openapi.json`.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "fxsrv",
        description = "Convert files, and keep some. Everything streams; nothing of a file that is \
                       converted is kept.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        formats::info,
        formats::formats,
        convert::post,
        convert::put,
        status::status,
        status::events,
        store::list,
        store::get,
        store::put,
        store::rename,
        store::summary,
    ),
    components(schemas(ProblemDocument)),
    modifiers(&Token),
    tags(
        (name = "convert", description = "A file in, a file out"),
        (name = "store", description = "Files that are kept"),
        (name = "status", description = "How the servers are"),
    )
)]
struct Api;

/// Why a request is not served (RFC 9457).
#[derive(ToSchema)]
#[allow(dead_code, reason = "the document is made by Problem::to_json; this is its description")]
pub(super) struct ProblemDocument {
    /// Always `about:blank`: the code tells problems apart.
    r#type: String,
    /// What stands for all problems of this code.
    title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and by how much.
    detail: String,
    /// Stable, for programs: a code of the wire, or one of the gateway's own.
    code: String,
    /// The next step, where there is one.
    hint: Option<String>,
    /// Finds the request in the logs.
    request_id: String,
    /// When to try again, where that may help.
    #[schema(minimum = 0)]
    retry_after_ms: Option<u32>,
}

/// What every operation may answer in the place of what it is for.
#[derive(IntoResponses)]
#[allow(
    dead_code,
    reason = "the answers themselves are made of Problem; this is their description"
)]
pub(super) enum Refusals {
    /// The request is refused
    #[response(status = "4XX", content_type = "application/problem+json")]
    Refused(#[to_schema] ProblemDocument),
    /// The servers could not do it
    #[response(status = "5XX", content_type = "application/problem+json")]
    Failed(#[to_schema] ProblemDocument),
}

struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The server's token. Not needed where /v1/info says `token_required: false`.",
            ))
            .build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::OPTIONS;

    #[test]
    fn the_description_has_every_path_and_every_option() {
        let api = serde_json::to_value(Api::openapi()).unwrap();
        assert!(api["openapi"].as_str().unwrap().starts_with("3.1"), "{}", api["openapi"]);
        let paths = api["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 9, "{:?}", paths.keys());
        for method in ["post", "put"] {
            let told =
                api["paths"]["/v1/convert"][method]["parameters"].as_array().unwrap().clone();
            for option in OPTIONS {
                assert!(told.iter().any(|one| one["name"] == option.name), "{}", option.name);
            }
        }
    }
}
