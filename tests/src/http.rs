//! A small HTTP client for what the API answers.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, redirect};
use serde_json::Value;

/// A client of one server: no proxy, no redirects followed, 10 s per request.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    base: String,
    headers: HeaderMap,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Http {
    /// For the server at this address, such as `http://127.0.0.1:8080`.
    pub fn new(base: impl Into<String>) -> Self {
        // The blob store's HTTP client brings none of its own, and features are for all; whoever was first chose the same.
        let _chosen = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .build()
            .expect("a client without TLS can be made");
        Self { client, base: base.into().trim_end_matches('/').to_owned(), headers: HeaderMap::new() }
    }

    /// The same client, sending this header with every request.
    ///
    /// # Panics
    /// If name or value cannot be sent as a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    /// The same client, signed in with this bearer token.
    #[must_use]
    pub fn with_bearer(self, token: &str) -> Self {
        self.with_header("authorization", &format!("Bearer {token}"))
    }

    /// A request to be completed and given to [`Self::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).headers(self.headers.clone())
    }

    /// GET.
    ///
    /// # Panics
    /// Like all but [`Self::send`]: if there is no whole answer in time.
    pub async fn get(&self, path: &str) -> Answer {
        self.expect(self.request(Method::GET, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.expect(self.request(Method::POST, path).json(body)).await
    }

    /// POST with the fields of a form.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.expect(self.request(Method::POST, path).form(fields)).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.expect(self.request(Method::PUT, path).json(body)).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.expect(self.request(Method::PATCH, path).json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.expect(self.request(Method::DELETE, path)).await
    }

    /// Sends the request, for tests in which the server may be away.
    ///
    /// # Errors
    /// If there is no whole answer in time.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    async fn expect(&self, request: RequestBuilder) -> Answer {
        self.send(request).await.unwrap_or_else(|error| panic!("no answer from {}: {error:?}", self.base))
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("status {} with a body that is no JSON ({error}): {}", self.status, self.text())
        })
    }

    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Itself, if the status is this one.
    ///
    /// # Panics
    /// If it is another; with the body.
    #[must_use]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "unexpected status, with the body: {}", self.text());
        self
    }
}
