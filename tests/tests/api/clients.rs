//! Programs that get tokens by their keys (SMART Backend Services). Keys and signatures are made by openssl.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pulsecal_tests::http::Answer;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::accounts::noted;
use crate::support::{Clinic, TestApi, new_id, now};

const SIGNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/signer/sign.py");
const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A program with a key of its own.
pub struct Program {
    folder: TempDir,
    algorithm: &'static str,
    id: String,
    audience: String,
}

fn run(arguments: &[&str], given: &str) -> String {
    let mut child = Command::new("python3")
        .arg(SIGNER)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    child.stdin.take().expect("piped").write_all(given.as_bytes()).expect("given");
    let done = child.wait_with_output().expect("it ran");
    assert!(done.status.success(), "sign.py needs openssl, and says above what is wrong");
    String::from_utf8(done.stdout).expect("text").trim().to_owned()
}

impl Program {
    /// One that is registered to act as this person.
    pub async fn register(api: &TestApi, person: Uuid, algorithm: &'static str, scopes: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let found = api.anonymous().get("/.well-known/smart-configuration").await.expect_status(200).json();
        let audience = found["token_endpoint"].as_str().expect("an address").to_owned();
        let mut program = Self { folder, algorithm, id: String::new(), audience };
        let keys = program.new_keys("one");
        let person = person.to_string();
        let mut arguments = vec!["client", "add", "--person", &person, "--label", "a test", "--keys"];
        arguments.push(keys.to_str().expect("UTF-8"));
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        let done = api.operator(&arguments).await;
        assert!(done.status.success(), "{done:?}");
        let printed: Value = serde_json::from_str(&done.stdout).expect("JSON");
        program.id = printed["id"].as_str().expect("an id").to_owned();
        program
    }

    fn key(&self) -> String {
        self.folder.path().join("key.pem").display().to_string()
    }

    /// Makes a key, and the file with its public half.
    fn new_keys(&self, id: &str) -> PathBuf {
        let mut key: Value = serde_json::from_str(&run(&["key", self.algorithm, &self.key()], "")).expect("a key");
        key["kid"] = json!(id);
        let file = self.folder.path().join("keys.json");
        std::fs::write(&file, json!({"keys": [key]}).to_string()).expect("written");
        file
    }

    fn claims(&self) -> Value {
        json!({"iss": self.id, "sub": self.id, "aud": self.audience, "exp": now().timestamp() + 290, "jti": new_id()})
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": kid, "typ": "JWT"});
        run(&["sign", self.algorithm, &self.key()], &json!({"header": header, "claims": claims}).to_string())
    }

    /// Asks for a token as it should be asked for.
    pub async fn ask(&self, api: &TestApi, scope: &str) -> Answer {
        send(api, &self.sign("one", &self.claims()), scope).await
    }
}

async fn send(api: &TestApi, assertion: &str, scope: &str) -> Answer {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", KIND),
        ("client_assertion", assertion),
        ("scope", scope),
    ];
    // Each from an address of its own, of which only so many tries are taken.
    let address = format!("203.0.113.{}", new_id().as_bytes()[15]);
    api.anonymous().with_header("x-forwarded-for", &address).post_form("/oauth/token", &fields).await
}

fn error(answer: Answer) -> (String, String) {
    let body = answer.expect_status(400).json();
    let text = |name: &str| body[name].as_str().expect("text").to_owned();
    (text("error"), text("error_description"))
}

#[tokio::test]
async fn a_program_gets_a_token_by_what_it_signs_and_the_api_takes_it_like_its_own() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let other = Clinic::add(&api.pool, 'b').await;
    for algorithm in ["RS384", "ES384"] {
        let scopes = ["system/Patient.rs", "appointments:read", "system/Appointment.cu"];
        let program = Program::register(&api, clinic.doctor, algorithm, &scopes).await;
        let answer = program.ask(&api, "system/Patient.r appointments:read system/MedicationRequest.rs openid").await;
        let granted = answer.expect_status(200);
        assert_eq!(granted.header("cache-control"), Some("no-store"));
        let granted = granted.json();
        assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("bearer"), &json!(300)));
        assert_eq!(granted["scope"], "appointments:read system/Patient.rs", "of what was asked for, what it may");
        let http = api.with(granted["access_token"].as_str().expect("a token"));
        let _may = http.get(&format!("/v1/patients/{}", clinic.patient)).await.expect_status(200);
        let _foreign = http.get(&format!("/v1/patients/{}", other.patient)).await.expect_status(404);
        let _may = http.get("/v1/appointments").await.expect_status(200);
        let _not_asked_for = http.post("/v1/appointments", &json!({})).await.expect_status(403);
        let _not_registered = http.get("/v1/prescriptions").await.expect_status(403);
    }
    assert_eq!(noted(&api, "token.granted", "success").await, 2);
    let lasts: f64 = sqlx::query_scalar(
        "SELECT max(extract(epoch FROM expires_at - created_at))::float8 FROM api_tokens WHERE client_id IS NOT NULL",
    )
    .fetch_one(&api.pool)
    .await
    .expect("tokens");
    assert!((299.0..=300.0).contains(&lasts), "{lasts}");
}

#[tokio::test]
async fn a_client_can_do_no_more_than_the_role_of_its_person_and_opens_no_page() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    sqlx::query("UPDATE people SET role = 'receptionist' WHERE person_id = $1")
        .bind(clinic.doctor)
        .execute(&api.pool)
        .await
        .expect("another role");
    let program =
        Program::register(&api, clinic.doctor, "ES384", &["system/MedicationRequest.rs", "system/Patient.rs"]).await;
    let (code, _) = error(program.ask(&api, "system/MedicationRequest.rs").await);
    assert_eq!(code, "invalid_scope");
    let granted = program.ask(&api, "system/*.rs").await.expect_status(200).json();
    assert_eq!(granted["scope"], "system/Patient.rs");
    let token = granted["access_token"].as_str().expect("a token");
    let refused = api.anonymous().post_form("/sign-in", &[("token", token), ("next", "")]).await.expect_status(401);
    assert!(refused.header("set-cookie").is_none(), "pages are for people");
    sqlx::query("UPDATE people SET active = false WHERE person_id = $1")
        .bind(clinic.doctor)
        .execute(&api.pool)
        .await
        .expect("left");
    let _gone = api.with(token).get("/v1/patients").await.expect_status(401);
    assert_eq!(error(program.ask(&api, "system/Patient.rs").await).0, "invalid_client");
}

#[tokio::test]
async fn what_is_signed_counts_once_here_and_now_only() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (program, stranger) = (
        Program::register(&api, clinic.doctor, "ES384", &["system/Patient.rs"]).await,
        Program::register(&api, clinic.doctor, "ES384", &["system/Patient.rs"]).await,
    );
    let once = program.sign("one", &program.claims());
    let _first = send(&api, &once, "system/Patient.rs").await.expect_status(200);
    let (code, why) = error(send(&api, &once, "system/Patient.rs").await);
    assert!(code == "invalid_client" && why.contains("used before"), "{why}");
    // Also by many at once, one gets in.
    let race = program.sign("one", &program.claims());
    let all = futures_util::future::join_all((0..8).map(|_| send(&api, &race, "system/Patient.rs"))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);

    let unix = now().timestamp();
    for (name, value, said) in [
        ("aud", json!("https://elsewhere.example/oauth/token"), "aud"),
        ("exp", json!(unix - 60), "expired"),
        ("exp", json!(unix + 600), "five minutes"),
        ("exp", json!("soon"), "not known"),
        ("iss", json!(stranger.id), "not known"),
        ("sub", json!(stranger.id), "iss, sub"),
        ("jti", json!(""), "jti"),
        ("jti", Value::Null, "not known"),
    ] {
        let mut claims = program.claims();
        claims[name] = value.clone();
        let (code, why) = error(send(&api, &program.sign("one", &claims), "system/Patient.rs").await);
        assert!(code == "invalid_client" && why.contains(said), "{name} {value}: {why}");
    }
    let unknown = program.sign("two", &program.claims());
    assert!(error(send(&api, &unknown, "system/Patient.rs").await).1.contains("not known"));
    let parts: Vec<&str> = once.split('.').collect();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    for (assertion, said) in [(unsigned.as_str(), "not known"), ("a.b.c", "JSON Web Token"), ("", "JSON Web Token")] {
        let (code, why) = error(send(&api, assertion, "system/Patient.rs").await);
        assert!(code == "invalid_client" && why.contains(said), "{assertion}: {why}");
    }
    assert_eq!(api.count("SELECT count(*) FROM client_assertions").await, 2);
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_as_the_rfc_says_and_so_often_only() {
    let api = TestApi::start().await;
    let http = api.anonymous();
    let grant = ("grant_type", "client_credentials");
    let kind = ("client_assertion_type", KIND);
    for (fields, code) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "password")], "unsupported_grant_type"),
        (vec![grant], "invalid_request"),
        (vec![grant, ("client_assertion_type", "other"), ("client_assertion", "a.b.c")], "invalid_request"),
        (vec![grant, kind], "invalid_request"),
        (vec![grant, grant, kind], "invalid_request"),
        (vec![grant, kind, ("client_assertion", "a.b.c")], "invalid_client"),
    ] {
        assert_eq!(error(http.post_form("/oauth/token", &fields).await).0, code, "{fields:?}");
    }
    assert_eq!(
        error(http.post("/oauth/token", &json!({"grant_type": "client_credentials"})).await).0,
        "invalid_request"
    );
    for _ in 0..2 {
        let _refused = http.post_form("/oauth/token", &[]).await.expect_status(400);
    }
    let limited = http.post_form("/oauth/token", &[]).await.expect_status(429);
    assert!(limited.header("retry-after").is_some());
}

#[tokio::test]
async fn keys_are_changed_and_clients_revoked_by_operators() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let program = Program::register(&api, clinic.doctor, "ES384", &["system/Patient.rs"]).await;
    let old = program.sign("one", &program.claims());
    let keys = program.new_keys("two");
    let changed = api.operator(&["client", "keys", &program.id, "--keys", keys.to_str().expect("UTF-8")]).await;
    assert!(changed.status.success(), "{changed:?}");
    assert_eq!(error(send(&api, &old, "system/Patient.rs").await).0, "invalid_client");
    let new = program.sign("two", &program.claims());
    let granted = send(&api, &new, "system/Patient.rs").await.expect_status(200).json();
    let http = api.with(granted["access_token"].as_str().expect("a token"));
    let _may = http.get("/v1/patients").await.expect_status(200);

    let listed = api.operator(&["client", "list", "--org", &clinic.org.to_string()]).await;
    assert!(listed.stdout.contains(&program.id) && listed.stdout.contains("a test"), "{listed:?}");
    let tokens = api.operator(&["user", "token", "list", "--org", &clinic.org.to_string()]).await;
    let tokens: Value = serde_json::from_str(&tokens.stdout).expect("JSON");
    assert_eq!(tokens.as_array().map(Vec::len), Some(2), "what clients get is not listed among what operators made");
    let revoked = api.operator(&["client", "revoke", &program.id]).await;
    assert!(revoked.status.success(), "{revoked:?}");
    let _gone = http.get("/v1/patients").await.expect_status(401);
    let late = program.sign("two", &program.claims());
    assert_eq!(error(send(&api, &late, "system/Patient.rs").await).0, "invalid_client");
    assert!(!api.operator(&["client", "revoke", &program.id]).await.status.success());
    for action in ["client.registered", "client.keys_changed", "client.revoked"] {
        assert_eq!(noted(&api, action, "success").await, 1, "{action}");
    }
    // A secret key must not be handed over.
    let mut secret: Value = serde_json::from_slice(&std::fs::read(&keys).expect("readable")).expect("JSON");
    secret["keys"][0]["d"] = json!("AQAB");
    std::fs::write(&keys, secret.to_string()).expect("written");
    let person = clinic.doctor.to_string();
    let keys = keys.to_str().expect("UTF-8");
    let add = ["client", "add", "--person", &person, "--scope", "system/Patient.rs", "--keys", keys];
    let refused = api.operator(&add).await;
    assert!(!refused.status.success() && refused.stderr.contains("secret key"), "{refused:?}");
}
