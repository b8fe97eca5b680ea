//! A finding before it is put into words, and the words.

use super::super::catalogue::{Entry, Product, catalogue};
use super::super::observations::Trial;
use super::path::Path;
use super::{Finding, Severity};

/// What was found, with what its sentence needs.
pub(super) struct Draft<'a> {
    pub(super) code: &'static str,
    /// What fails for this reason.
    pub(super) transports: Vec<&'static str>,
    /// Where it shows.
    pub(super) trial: Option<&'a Trial>,
    /// What is filled in, beside what every sentence may name.
    pub(super) values: Vec<(&'static str, String)>,
    /// It is about another way than the clients'.
    pub(super) aside: bool,
    /// Which of a product's lines mends it, where that is a closer one than the entry's.
    pub(super) topic: Option<&'static str>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(code: &'static str, trial: Option<&'a Trial>) -> Draft<'a> {
        Draft { code, transports: Vec::new(), trial, values: Vec::new(), aside: false, topic: None }
    }

    pub(super) fn failing(mut self, transports: Vec<&'static str>) -> Draft<'a> {
        self.transports = transports;
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Draft<'a> {
        self.values.push((name, value.to_string()));
        self
    }

    /// Names a closer topic than the entry's; a product that has no line for it has one for the entry's.
    pub(super) fn topic(mut self, topic: &'static str) -> Draft<'a> {
        self.topic = Some(topic);
        self
    }

    pub(super) fn aside(mut self) -> Draft<'a> {
        self.aside = true;
        self
    }

    /// The finding in words.
    pub(super) fn finding(&self, path: &Path<'a>, entry: &'static Entry, severity: Severity) -> Finding {
        let product = if entry.own { self.trial.and_then(shown) } else { product(path, self.trial) };
        let topics = self.topic.into_iter().chain(entry.topic.as_deref());
        let line = product.and_then(|product| topics.into_iter().find_map(|topic| product.lines.get(topic)));
        Finding {
            code: &entry.code,
            severity,
            transports: self.transports.clone(),
            sentence: self.fill(path, &entry.sentence),
            fix: self.fill(path, entry.secure_fix.as_ref().filter(|_| path.secure).unwrap_or(&entry.fix)),
            product: product.filter(|_| line.is_some()).map(|product| product.title.as_str()),
            line: line.map(|line| self.fill(path, line)),
        }
    }

    /// A text with everything filled in.
    pub(super) fn fill(&self, path: &Path<'a>, template: &str) -> String {
        let mut text = template.to_owned();
        for (name, value) in &self.values {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        let answer = self.trial.and_then(|trial| trial.answer.as_ref());
        let ms = self.trial.and_then(|trial| trial.after_ms);
        let general = [
            ("who", who(path, self)),
            ("url", path.observations.url.clone()),
            ("host", path.host.clone()),
            ("port", path.port.to_string()),
            ("authority", path.authority.clone()),
            ("prefix", path.prefix.clone()),
            ("proxy", path.observations.proxy.clone().unwrap_or_default()),
            ("origin", path.observations.origin.clone().unwrap_or_else(|| path.origin())),
            ("detail", self.trial.map(words).unwrap_or_default()),
            ("status", answer.map(|answer| answer.status.to_string()).unwrap_or_default()),
            ("message", answer.and_then(|answer| answer.message.clone()).unwrap_or_default()),
            ("ms", ms.unwrap_or_default().to_string()),
        ];
        for (name, value) in general {
            text = text.replace(&format!("{{{name}}}"), &value);
        }
        text
    }
}

/// How a trial ended, in few words.
pub(super) fn words(trial: &Trial) -> String {
    let fault = trial.fault.as_deref().unwrap_or_default();
    match (fault, &trial.answer, &trial.detail) {
        ("answered" | "tunnel-refused" | "credentials" | "credentials-refused", Some(answer), _) => {
            format!("status {}", answer.status)
        }
        ("", Some(answer), _) => format!("status {}", answer.status),
        ("reset" | "cut", ..) => "the connection is cut".to_owned(),
        ("silent", ..) => "no answer".to_owned(),
        ("mute", ..) => "no data".to_owned(),
        ("certificate", ..) => {
            let fault = trial.tls.as_ref().and_then(|tls| tls.fault.as_deref()).unwrap_or_default();
            let words = match fault {
                "expired" => "has expired",
                "not-yet-valid" => "is not valid yet",
                "wrong-name" => "has another name",
                "self-signed" => "is self-signed",
                "unfit" => "is none for a server",
                _ => "is not trusted",
            };
            format!("the certificate {words}")
        }
        (_, _, Some(detail)) => detail.clone(),
        _ => fault.to_owned(),
    }
}

/// The subject of a sentence, with what betrays it.
fn who(path: &Path<'_>, draft: &Draft<'_>) -> String {
    let texts = &catalogue().who;
    let text = |name: &str| texts.get(name).cloned().unwrap_or_default();
    let own = catalogue().entry(draft.code).is_some_and(|entry| entry.own);
    let sign = evidence(path, draft.trial, own).map(|sign| format!(" ({sign})")).unwrap_or_default();
    if draft.trial.and_then(|trial| trial.fault.as_deref()) == Some("tunnel-refused") {
        let proxy = path.observations.proxy.clone().unwrap_or_default();
        return format!("{}{sign}", text("forward").replace("{proxy}", &proxy));
    }
    format!("{}{sign}", text(if sign.is_empty() { "something" } else { "proxy" }))
}

/// What betrays a proxy: `Via` before `Server` before a product's headers; where the trial tells nothing, any of its way.
fn evidence(path: &Path<'_>, trial: Option<&Trial>, own: bool) -> Option<String> {
    let others = || path.trials().filter(|_| !own);
    let trials = || trial.into_iter().chain(others());
    if let Some(via) = trials().find_map(via) {
        return Some(format!("Via: {via}"));
    }
    if let Some(server) = trials().find_map(|trial| trial.answer.as_ref()?.server.clone()) {
        return Some(format!("Server: {server}"));
    }
    let product = if own { trial.and_then(shown) } else { product(path, trial) };
    product.map(|product| format!("{} by its marks", product.title))
}

/// `Via` of the request as it arrived, or of the answer.
fn via(trial: &Trial) -> Option<String> {
    let arrived = trial.seen.as_ref().and_then(|seen| {
        let (_, value) = seen.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("via"))?;
        Some(value.clone())
    });
    arrived.or_else(|| trial.diagnose.as_ref()?.via.clone()).or_else(|| trial.answer.as_ref()?.via.clone())
}

/// The proxy that a trial shows, or else any of its way.
fn product(path: &Path<'_>, trial: Option<&Trial>) -> Option<&'static Product> {
    trial.and_then(shown).or_else(|| {
        let first = |product: &&Product| path.trials().any(|trial| shows(trial, product));
        catalogue().products.iter().find(first)
    })
}

/// The proxy that a trial shows.
fn shown(trial: &Trial) -> Option<&'static Product> {
    catalogue().products.iter().find(|product| shows(trial, product))
}

fn shows(trial: &Trial, product: &Product) -> bool {
    product.signs.iter().any(|(kind, text)| {
        let holds = |value: &Option<String>| value.as_ref().is_some_and(|v| v.to_ascii_lowercase().contains(text));
        let answer = trial.answer.as_ref();
        match kind.as_str() {
            "via" => holds(&via(trial)),
            "server" => answer.is_some_and(|answer| holds(&answer.server)),
            "body" => answer.is_some_and(|answer| holds(&answer.body)),
            "header" => answer.is_some_and(|answer| answer.headers.contains(text)),
            "issuer" => trial.tls.as_ref().is_some_and(|tls| tls.issuer.to_ascii_lowercase().contains(text)),
            "added" => trial.seen.as_ref().is_some_and(|seen| {
                text.split(',').all(|name| seen.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)))
            }),
            _ => false,
        }
    })
}
