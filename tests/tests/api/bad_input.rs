//! What is wrong with a request is said in words, on every route of the contract: bodies that are none, fields of wrong kinds, all
//! of them at once, parameters that are unknown, twice, empty or absurd. The routes and fields are those of `/openapi.json`, and they
//! are held against those that the answers name.

use std::collections::BTreeSet;

use pulsecal_tests::http::{Answer, Http};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::{Clinic, TestApi, new_id, wrong_fields};

/// A route under `/v1`, as the document has it.
struct Route {
    method: Method,
    path: String,
    operation: Value,
    document: Value,
}

impl Route {
    async fn all(api: &TestApi) -> Vec<Self> {
        let document = api.anonymous().get("/openapi.json").await.expect_status(200).json();
        let paths = document["paths"].as_object().expect("paths");
        let mut all = Vec::new();
        for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/v1/")) {
            for (method, operation) in item.as_object().expect("operations") {
                all.push(Self {
                    method: method.to_uppercase().parse().expect("a method"),
                    path: path.replace("{id}", &new_id().to_string()),
                    operation: operation.clone(),
                    document: document.clone(),
                });
            }
        }
        all
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        schema["$ref"]
            .as_str()
            .map_or(schema, |to| self.document.pointer(to.trim_start_matches('#')).expect("a schema"))
    }

    /// The fields of its body; none: it takes no body.
    fn fields(&self) -> Option<&Map<String, Value>> {
        let schema = self.operation.pointer("/requestBody/content/application~1json/schema")?;
        self.resolved(schema)["properties"].as_object()
    }

    /// Who may: administrators may all but what is between patients and those who treat them.
    fn by<'a>(&self, admin: &'a Http, doctor: &'a Http) -> &'a Http {
        let treating = ["/v1/medical-records", "/v1/record-attachments", "/break-glass"]
            .iter()
            .any(|part| self.path.contains(part));
        if treating { doctor } else { admin }
    }

    fn parameters(&self) -> BTreeSet<&str> {
        let all = self.operation["parameters"].as_array().into_iter().flatten();
        all.filter(|parameter| parameter["in"] == "query").filter_map(|parameter| parameter["name"].as_str()).collect()
    }

    async fn send(&self, http: &Http, kind: Option<&str>, body: Vec<u8>) -> Answer {
        let request = http.request(self.method.clone(), &self.path).body(body);
        let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        http.send(request).await.unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path))
    }

    /// It is refused so, in words.
    async fn refuses(&self, http: &Http, kind: Option<&str>, body: &[u8], status: u16) -> Value {
        let answer = self.send(http, kind, body.to_vec()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let about = format!("{} {} {kind:?} {shown}: {} {}", self.method, self.path, answer.status, answer.text());
        assert_eq!(answer.status, status, "{about}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{about}");
        let problem: Value = answer.json();
        for words in [&problem["title"], &problem["detail"]] {
            assert!(words.as_str().is_some_and(|words| words.len() > 3 && words.chars().count() < 600), "{about}");
        }
        problem
    }
}

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn what_is_no_json_object_is_refused_by_every_write() {
    let api = TestApi::start_with(pulsecal_tests::servers::Postgres::shared().await, &GENEROUS).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (admin, doctor) = (api.with(&clinic.admin), api.with(&clinic.token));
    let deep = format!("{{\"a\": {}", "[".repeat(50_000));
    let deep_objects = "{\"a\":".repeat(20_000);
    let large = format!("{{\"a\": \"{}\"}}", "a".repeat(300 * 1024));
    let bodies: [(&[u8], u16); 19] = [
        (b"", 400),
        (b" ", 400),
        (b"null", 400),
        (b"[]", 400),
        (b"\"text\"", 400),
        (b"{", 400),
        (b"{} {}", 400),
        (b"{'a': 1}", 400),
        (b"{\"a\": NaN}", 400),
        (b"{\"a\": 1e999}", 400),
        (b"{\"a\": 1, \"a\": 1}", 400),
        (b"{\"a\": \"\\ud800\"}", 400),
        (b"{\"a\": \"\xff\xfe\"}", 400),
        (b"\xef\xbb\xbf{}", 400),
        (deep.as_bytes(), 400),
        (deep_objects.as_bytes(), 400),
        (large.as_bytes(), 413),
        (b"{\"a\": {\"b\": [\"\\u0000\"]}}", 422),
        (b"{\"a\\u0000\": 1}", 422),
    ];
    let mut walked = 0;
    for route in Route::all(&api).await.iter().filter(|route| route.fields().is_some()) {
        walked += 1;
        let http = route.by(&admin, &doctor);
        for (body, status) in bodies {
            let _words = route.refuses(http, JSON, body, status).await;
        }
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "",
        ] {
            let _words = route.refuses(http, Some(kind), b"{}", 415).await;
        }
    }
    assert!(walked >= 8, "{walked}");
    assert_eq!(api.count("SELECT count(*) FROM audit_entries").await, 0);
}

#[tokio::test]
async fn the_fields_of_every_write_are_those_of_the_document_and_all_that_are_wrong_are_named_at_once() {
    let api = TestApi::start_with(pulsecal_tests::servers::Postgres::shared().await, &GENEROUS).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (admin, doctor) = (api.with(&clinic.admin), api.with(&clinic.token));
    // What is compared with what is there is looked up first: a reminder that is to be changed must exist.
    let (_, reminder) = clinic.add_reminder(&api.pool).await;
    let mut walked = 0;
    for mut route in Route::all(&api).await {
        if route.path.starts_with("/v1/medication-reminders/") {
            route.path = format!("/v1/medication-reminders/{reminder}");
        }
        let Some(fields) = route.fields() else { continue };
        walked += fields.len();
        let http = route.by(&admin, &doctor);
        // One that it does not have, and every one of a kind that it is not.
        let mut all = Map::from_iter([("nonsense".to_owned(), json!(1))]);
        for (name, schema) in fields {
            for wrong in wrong_values(route.resolved(schema)) {
                let body = Map::from_iter([(name.clone(), wrong.clone())]);
                let problem = route.refuses(http, JSON, &bytes(body), 422).await;
                let named = wrong_fields(&problem);
                let nested = format!("{name}.");
                assert!(
                    named.iter().any(|field| field == name || field.starts_with(&nested)),
                    "{name} {wrong}: {problem}"
                );
                all.insert(name.clone(), wrong);
            }
        }
        let problem = route.refuses(http, JSON, &bytes(all), 422).await;
        let named: BTreeSet<String> =
            wrong_fields(&problem).iter().map(|field| field.split('.').next().unwrap_or_default().to_owned()).collect();
        let mut expected: BTreeSet<String> = fields.keys().cloned().collect();
        expected.insert("nonsense".to_owned());
        assert_eq!(named, expected, "{} {}", route.method, route.path);
        assert_eq!(known(&problem, "nonsense"), fields.keys().map(String::as_str).collect(), "{}", route.path);
        for (name, schema) in fields {
            let Some(inner) = route.resolved(schema)["properties"].as_object() else { continue };
            let body = json!({name.as_str(): {"nonsense": 1}}).as_object().cloned().unwrap_or_default();
            let problem = route.refuses(http, JSON, &bytes(body), 422).await;
            let nested = inner.keys().map(|field| format!("{name}.{field}")).collect::<BTreeSet<_>>();
            let nested: BTreeSet<&str> = nested.iter().map(String::as_str).collect();
            assert_eq!(known(&problem, &format!("{name}.nonsense")), nested);
        }
    }
    assert!(walked > 40, "{walked}");
    assert_eq!(api.count("SELECT count(*) FROM audit_entries").await, 0);
}

#[tokio::test]
async fn the_parameters_of_every_list_are_those_of_the_document_and_odd_ones_are_named() {
    let api = TestApi::start_with(pulsecal_tests::servers::Postgres::shared().await, &GENEROUS).await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let (admin, doctor) = (api.with(&clinic.admin), api.with(&clinic.token));
    let long = "x".repeat(501);
    let mut walked = 0;
    for route in Route::all(&api).await {
        let names = route.parameters();
        // Elsewhere a file's name is the only one, and comes with the file.
        if names.is_empty() || route.method != Method::GET {
            continue;
        }
        walked += 1;
        let http = route.by(&admin, &doctor);
        let ask = async |query: String| {
            let answer = http.get(&format!("{}?{query}", route.path)).await;
            assert_eq!(answer.status, 422, "{} {query}: {}", route.path, answer.text());
            answer.json()
        };
        assert_eq!(known(&ask("nonsense=1".to_owned()).await, "nonsense"), names, "{}", route.path);
        for odd in ["", "%00", "%ff", "%ED%A0%80", &long] {
            let query: Vec<String> = names.iter().map(|name| format!("{name}={odd}")).collect();
            let problem = ask(query.join("&")).await;
            assert_eq!(wrong_fields(&problem).into_iter().collect::<BTreeSet<_>>(), names, "{} {odd:?}", route.path);
        }
        let twice: Vec<String> = names.iter().map(|name| format!("{name}=1&{name}=1")).collect();
        let problem = ask(twice.join("&")).await;
        assert_eq!(wrong_fields(&problem).into_iter().collect::<BTreeSet<_>>(), names, "{}", route.path);
        for at in [
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "%2B300000-01-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-01-01",
        ] {
            for name in names.iter().filter(|name| ["from", "to"].contains(name)) {
                assert_eq!(wrong_fields(&ask(format!("{name}={at}")).await), [*name], "{at}");
            }
        }
    }
    assert!(walked >= 7, "{walked}");
}

#[tokio::test]
async fn absurd_dates_are_refused_in_words() {
    let api = TestApi::start().await;
    let clinic = Clinic::add(&api.pool, 'a').await;
    let http = api.with(&clinic.token);
    let (prescription, reminder) = clinic.add_reminder(&api.pool).await;
    for at in [
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "-200000-01-01T00:00:00Z",
        "9999-12-31T23:59:00Z",
        "+200000-01-01T00:00:00Z",
        "+300000-01-01T00:00:00Z",
    ] {
        let body = json!({"patient_id": clinic.patient, "doctor_id": clinic.doctor, "starts_at": at, "ends_at": at});
        let answer = http.post("/v1/appointments", &body).await;
        assert!([409, 422].contains(&answer.status), "{at}: {}", answer.text());
        if at != "9999-12-31T23:59:00Z" {
            let body = json!({"format": "csv", "filters": {"from": at, "to": at}});
            let problem = http.post("/v1/exports", &body).await.expect_status(422).json();
            assert_eq!(wrong_fields(&problem), ["filters.from", "filters.to"], "{at}");
        }
    }
    for day in ["0000-01-01", "0001-01-01", "9999-12-31", "+300000-01-01", "2026-02-30", "-0001-01-01"] {
        let mut timing = crate::support::timing("08:00");
        timing["start"] = json!(day);
        let new = json!({"patient_id": clinic.patient, "medicine": "Examplomycin", "timing": timing});
        let _words = http.post("/v1/prescriptions", &new).await.expect_status(422);
        let set = json!({"prescription_id": prescription, "timing": timing, "meaning": "wall_clock"});
        let _words = http.post("/v1/medication-reminders", &set).await.expect_status(422);
        let change = json!({"timing": timing});
        let _words = http.patch(&format!("/v1/medication-reminders/{reminder}"), &change).await.expect_status(422);
    }
}

/// Many requests of one address.
const GENEROUS: [(&str, &str); 1] = [("RATE_LIMITS", "address=100000,caller=100000")];

fn bytes(body: Map<String, Value>) -> Vec<u8> {
    Value::Object(body).to_string().into_bytes()
}

/// The names that the answer says the request has, where it says that it does not have this one.
fn known<'a>(problem: &'a Value, name: &str) -> BTreeSet<&'a str> {
    let errors = problem["errors"].as_array().expect("errors");
    let message = errors.iter().find(|error| error["field"] == name).and_then(|error| error["message"].as_str());
    let (_, names) =
        message.and_then(|message| message.split_once("which has ")).unwrap_or_else(|| panic!("{problem}"));
    names.split(", ").collect()
}

/// Values that a field of this schema cannot have.
fn wrong_values(schema: &Value) -> Vec<Value> {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one],
        _ => vec!["object"],
    };
    let mut wrong = vec![json!([[]]), json!({"": [{}]})];
    // serde would read such an object as the word, and such a list as the object.
    wrong.extend(schema["enum"][0].as_str().map(|word| json!({word: null})));
    if schema["oneOf"].is_array() {
        wrong.extend([json!(["as_needed"]), json!({"kind": 2}), json!({"kind": "as_needed", "start": null})]);
    }
    if !kinds.contains(&"string") {
        wrong.push(json!("nonsense"));
    } else {
        wrong.extend([json!(5), json!(true)]);
    }
    match schema["format"].as_str() {
        Some("uuid") => wrong.extend([json!(""), json!("1"), json!("0197a000-0000-7000-8000-00000000000g")]),
        Some("date-time") => {
            wrong.extend(["", "2026-01-01", "0000-00-00T00:00:00Z", "2026-02-30T00:00:00Z"].map(|at| json!(at)))
        }
        Some("time-zone") => {
            wrong.extend(["", "Europe/Atlantis", "europe/berlin", "../../etc/passwd"].map(|name| json!(name)))
        }
        _ => {}
    }
    if kinds.contains(&"integer") {
        wrong.extend([json!(1.5), json!(1e300), json!(u64::MAX), json!(-99_999_999_999_i64)]);
    }
    if kinds.contains(&"boolean") {
        wrong.extend([json!(0), json!("true")]);
    }
    wrong
}
