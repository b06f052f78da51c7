//! The few pages a person sees: plain HTML that needs nothing from anywhere else.

use std::fmt::Write as _;

use axum::response::Html;

/// One of the things a person may choose, and where that leads.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) label: String,
    pub(crate) detail: String,
    pub(crate) href: String,
}

/// A list to choose from and, below it, a field for any other address, which is sent as `as`
/// together with the `query` there is.
pub(crate) fn chooser(
    title: &str,
    lead: &str,
    choices: &[Choice],
    query: &[(&String, &String)],
) -> Html<String> {
    let mut list = String::new();
    for Choice { label, detail, href } in choices {
        let (label, detail, href) = (escaped(label), escaped(detail), escaped(href));
        let _ = write!(list, "<li><a href=\"{href}\">{label}</a> <small>{detail}</small></li>");
    }
    let mut hidden = String::new();
    for (name, value) in query {
        let (name, value) = (escaped(name), escaped(value));
        let _ = write!(hidden, "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
    }
    let form = format!(
        "<form>{hidden}<label>Somebody else: <input type=\"email\" name=\"as\" required></label> \
         <button>Continue</button></form>"
    );
    page(title, &format!("<p>{}</p><ul>{list}</ul>{form}", escaped(lead)))
}

/// A page around `body`, which is HTML already.
pub(crate) fn page(title: &str, body: &str) -> Html<String> {
    let title = escaped(title);
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:1rem/1.6 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}}\
         small{{color:#666}}td,th{{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}}\
         code{{font-size:1.2em}}</style><h1>{title}</h1>{body}</html>"
    ))
}

/// Text as HTML shows it, in attributes too.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
