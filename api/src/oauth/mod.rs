//! Tokens for programs: SMART Backend Services (SMART App Launch 2, client credentials with `private_key_jwt`). What is wrong is said as RFC
//! 6749, 5.2 has it, since that is what such clients read.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pulsecal_core::clients::{self, ALGORITHMS, LIFETIME, Refused, scopes};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::access::{Stranger, request_of};
use crate::app::App;
use crate::contract::{Body, Operation, kinds};
use crate::limits::{CLIENTS, address_of, by_caller};
use crate::policy::ceiling;
use crate::problem::Problem;

const TOKEN: &str = "/oauth/token";

/// `/oauth/token`, and where clients read that it is there.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/oauth/token", post(token)).route("/.well-known/smart-configuration", get(configuration))
}

/// A token that was granted (RFC 6749, 5.1).
#[derive(Serialize, ToSchema)]
struct TokenAnswer {
    /// The token, for `Authorization: Bearer`.
    access_token: String,
    /// `bearer`.
    token_type: &'static str,
    /// For so many seconds it is good.
    expires_in: i64,
    /// What it may do, with blanks between: of what was asked for, what the client may.
    scope: String,
}

/// Why there is no token (RFC 6749, 5.2).
#[derive(Serialize, ToSchema)]
struct OAuthError {
    /// `invalid_request`, `invalid_client`, `unsupported_grant_type` or `invalid_scope`.
    error: &'static str,
    /// The same in a sentence.
    error_description: String,
}

/// What a client needs to know of this server (SMART App Launch 2, 7).
#[derive(Serialize, ToSchema)]
struct SmartConfiguration {
    /// Where tokens are asked for: also the `aud` of what a client signs.
    token_endpoint: String,
    /// How clients show who they are.
    token_endpoint_auth_methods_supported: [&'static str; 1],
    /// How they may sign.
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 2],
    /// What they may ask for a token by.
    grant_types_supported: [&'static str; 1],
    /// The scopes that there are.
    scopes_supported: Vec<String>,
    /// SMART asks for it, also where people are not led through it.
    code_challenge_methods_supported: [&'static str; 1],
    /// What there is of SMART.
    capabilities: [&'static str; 2],
}

async fn configuration(State(app): State<App>) -> Result<Response, Problem> {
    let configuration = SmartConfiguration {
        token_endpoint: here(&app)?,
        token_endpoint_auth_methods_supported: ["private_key_jwt"],
        token_endpoint_auth_signing_alg_values_supported: ALGORITHMS.map(|algorithm| algorithm.as_str()),
        grant_types_supported: ["client_credentials"],
        scopes_supported: scopes::supported(),
        code_challenge_methods_supported: ["S256"],
        capabilities: ["client-confidential-asymmetric", "permission-v2"],
    };
    Ok(Json(configuration).into_response())
}

/// The address of the token endpoint, as clients know it.
fn here(app: &App) -> Result<String, Problem> {
    let url = app.ctx.links.page(TOKEN).map_err(|error| Problem::internal(&error.to_string()))?;
    Ok(url.to_string())
}

async fn token(stranger: Stranger, State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let extensions = request.extensions().clone();
    let address = address_of(&extensions, request.headers()).to_string();
    let turn = app.limits.take(CLIENTS, &address).await;
    if !turn.allowed {
        return Err(Problem::too_often(turn.wait.as_secs() + 1));
    }
    let is_form = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    let body = Bytes::from_request(request, &app).await.ok().filter(|_| is_form);
    let Some(body) = body else {
        return refused(
            &app,
            stranger,
            Refused::InvalidRequest("Send application/x-www-form-urlencoded, of moderate length."),
        );
    };
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    let sent = match read(&fields) {
        Ok(sent) => sent,
        Err(why) => return refused(&app, stranger, why),
    };
    let client = match clients::authenticate(&app.ctx, sent, &here(&app)?).await? {
        Ok(client) => client,
        Err(why) => return refused(&app, stranger, why),
    };
    app.limits.give_back(CLIENTS, &address).await;
    by_caller(&app, &extensions, &client.id.to_string()).await?;
    match clients::grant(&app.ctx, &client, sent.scope, ceiling, request_of(&extensions)?).await? {
        Err(why) => refused(&app, stranger, why),
        Ok(granted) => Ok(Json(TokenAnswer {
            access_token: granted.token.expose().to_owned(),
            token_type: "bearer",
            expires_in: LIFETIME.num_seconds(),
            scope: granted.scope,
        })
        .into_response()),
    }
}

/// The fields of a request; each may stand there once.
fn read(fields: &[(String, String)]) -> Result<clients::Request<'_>, Refused> {
    let mut sent = clients::Request::default();
    for (name, value) in fields {
        let field = match name.as_str() {
            "grant_type" => &mut sent.grant,
            "client_assertion_type" => &mut sent.kind,
            "client_assertion" => &mut sent.assertion,
            "client_id" => &mut sent.client,
            "scope" => &mut sent.scope,
            // What is not known is passed over (RFC 6749, 3.2).
            _ => continue,
        };
        if field.replace(value).is_some() {
            return Err(Refused::InvalidRequest("A parameter stands there twice."));
        }
    }
    Ok(sent)
}

fn refused(app: &App, stranger: Stranger, why: Refused) -> Result<Response, Problem> {
    stranger.refused(app, why.code());
    let answer = OAuthError { error: why.code(), error_description: why.to_string() };
    Ok((StatusCode::BAD_REQUEST, Json(answer)).into_response())
}

/// What the contract says of them.
pub(crate) fn contract() -> Vec<Operation> {
    let sent = Body::new(
        "TokenRequest",
        json!({
            "grant_type": "client_credentials",
            "scope": "system/Patient.rs",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": "eyJhbGciOiJFUzM4NCIsImtpZCI6ImsxIn0.eyJpc3MiOiIifQ.c2lnbmF0dXJl",
        }),
    )
    .required("grant_type", kinds::one_of(&["client_credentials"]), "The only way.")
    .required("scope", kinds::text(4000), "What the token is to do, as `system/Patient.rs` or as `patients:read`, with blanks between.")
    .required(
        "client_assertion_type",
        kinds::one_of(&["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]),
        "The only kind.",
    )
    .required("client_assertion", kinds::text(8192), "What the client signed: a JSON Web Token (RS384 or ES384) with `iss` and `sub` (its id), `aud` (this address), `exp` (at most five minutes on) and `jti` (another each time).");
    let granted =
        json!({"access_token": "pc_live_…", "token_type": "bearer", "expires_in": 300, "scope": "system/Patient.rs"});
    let wrong = json!({"error": "invalid_client", "error_description": "The client_assertion has expired (exp)."});
    let known = json!({
        "token_endpoint": "https://clinic.example.org/oauth/token",
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["system/Patient.rs", "patients:read"],
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v2"],
    });
    vec![
        Operation::new("POST", TOKEN, "Gives a registered client a token for five minutes")
            .detail("SMART Backend Services. An operator registers clients with their public keys (`pulsecal client add`). What is wrong is said as RFC 6749 has it.")
            .form(sent)
            .shows::<TokenAnswer>("A token. It does what its scopes and the role of its client's person allow.", granted)
            .answer::<OAuthError>(400, "Why there is none.", Some(wrong), &[]),
        Operation::new("GET", "/.well-known/smart-configuration", "What clients need to know to ask for tokens")
            .shows::<SmartConfiguration>("The address, and what there is.", known),
    ]
}
