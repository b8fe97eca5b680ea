//! Runs the examples of docs/http.md.

use super::*;

/// A curl command, as far as the document uses them.
#[derive(Debug, Default)]
struct Curl {
    method: Option<String>,
    target: String,
    headers: Vec<(String, String)>,
    data: Option<String>,
    head_shown: bool,
}

/// Splits a command line into words; quotes are single.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        for (j, word) in part.split(' ').enumerate() {
            if j > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(word);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

impl Curl {
    fn parse(line: &str) -> Curl {
        let mut curl = Curl::default();
        let mut words = words(line).into_iter();
        assert_eq!(words.next().as_deref(), Some("curl"), "{line}");
        while let Some(word) = words.next() {
            match word.as_str() {
                "-X" => curl.method = words.next(),
                "-d" | "--data-binary" => curl.data = words.next(),
                "-i" => curl.head_shown = true,
                "-H" => {
                    let header = words.next().unwrap();
                    let (name, value) = header.split_once(": ").unwrap();
                    curl.headers.push((name.to_owned(), value.to_owned()));
                }
                url => curl.target = url.strip_prefix("http://localhost:9000").unwrap().to_owned(),
            }
        }
        curl
    }

    async fn run(&self, realm: &Realm) -> Answer {
        let method = self.method.as_deref().unwrap_or(if self.data.is_some() { "POST" } else { "GET" });
        let mut headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if self.data.is_some() && !headers.iter().any(|(name, _)| *name == "Content-Type") {
            headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        realm.send(method, &self.target, &headers, self.data.as_deref().unwrap_or_default().as_bytes()).await
    }
}

/// Epochs are random; the document shows none.
fn without_epochs(body: &str) -> String {
    let mut parts = body.split("\"epoch\":\"");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("\"epoch\":\"\u{2026}");
        out.push_str(&part[16..]);
    }
    out
}

/// Checks what is shown of an answer's head; an answer has more headers than that.
fn check_head(line: &str, shown: &str, answer: &Answer) {
    let mut lines = shown.lines();
    let status = lines.next().unwrap();
    assert!(status.starts_with(&format!("HTTP/1.1 {} ", answer.status)), "{line}: {status}, not {}", answer.status);
    for header in lines {
        let (name, value) = header.split_once(": ").unwrap();
        assert_eq!(answer.header(name), value, "{line}: {header}");
    }
}

#[tokio::test]
async fn the_examples_of_the_document_give_what_it_says() {
    let document = include_str!("../../../../../docs/http.md");
    let realm = Realm::new("");
    let blocks = document.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut count = 0;
    for example in blocks.flat_map(|block| block.split("$ ").skip(1)) {
        let (line, expected) = example.split_once('\n').unwrap();
        let curl = Curl::parse(line);
        let answer = curl.run(&realm).await;
        let expected = expected.trim_end();
        let body = if curl.head_shown {
            let (head, body) = expected.split_once("\n\n").unwrap_or((expected, ""));
            check_head(line, head, &answer);
            body
        } else {
            expected
        };
        assert_eq!(without_epochs(&answer.body), body, "{line}");
        count += 1;
    }
    assert!(count > 20, "{count} examples were found");
}
