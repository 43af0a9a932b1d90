use std::time::Duration;

/// An answer of a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// The cookie that it set, as it is to be sent back.
    pub cookie: Option<String>,
    /// Where it sends the reader.
    pub location: Option<String>,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into()
}

fn page(mut response: ureq::http::Response<ureq::Body>) -> Page {
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let cookie = header("set-cookie").and_then(|cookie| cookie.split(';').next().map(str::to_owned));
    let (status, location) = (response.status().as_u16(), header("location"));
    Page { status, body: response.body_mut().read_to_string().unwrap_or_default(), cookie, location }
}

/// Gets a page; an error is what the connection said.
pub fn get(url: &str, cookie: Option<&str>) -> Result<Page, String> {
    let mut request = agent().get(url);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    request.call().map(page).map_err(|error| error.to_string())
}

/// Posts a form.
pub fn post(url: &str, fields: &[(&str, &str)], cookie: Option<&str>) -> Result<Page, String> {
    let mut request = agent().post(url);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    request.send_form(fields.iter().copied()).map(page).map_err(|error| error.to_string())
}
